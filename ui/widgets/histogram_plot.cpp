#include "ui/widgets/histogram_plot.h"

#include "ui/models/atlas_text.h"
#include "ui/theme/theme.h"
#include "ui/widgets/plot_style.h"

#include <QVBoxLayout>

#include <qcustomplot.h>

#include <algorithm>

namespace shardlens::ui {
namespace {

constexpr int kLeastPixels = 48;
constexpr double kRoomAbove = 1.05;
constexpr double kLeastOnLogAxis = 0.7; // below one value, so that a bar of one shows

} // namespace

HistogramPlot::HistogramPlot(QWidget* parent) : QWidget(parent), m_plot(new QCustomPlot(this)), m_bars(new QCPBars(m_plot->xAxis, m_plot->yAxis))
{
    auto* layout = new QVBoxLayout(this);
    layout->setContentsMargins(0, 0, 0, 0);
    layout->addWidget(m_plot);
    m_plot->setAttribute(Qt::WA_TransparentForMouseEvents);
    m_plot->setMinimumSize(kLeastPixels, kLeastPixels); // the plot cannot paint on nothing
    m_bars->setAntialiased(false);
    m_plot->xAxis->grid()->setVisible(false);
    m_plot->xAxis->setLabel(tr("value"));
    m_plot->yAxis->setLabel(tr("how many"));
    setAccessibleName(tr("Histogram"));
    connect(&Theme::current(), &Theme::changed, this, &HistogramPlot::applyTheme);
    applyTheme();
}

QSize HistogramPlot::sizeHint() const
{
    return {Theme::current().px(480), Theme::current().px(280)};
}

void HistogramPlot::applyTheme()
{
    const Theme& theme = Theme::current();
    stylePlot(*m_plot);
    m_bars->setPen(Qt::NoPen);
    m_bars->setBrush(theme.sequential(5));
    updateGeometry();
    m_plot->replot(QCustomPlot::rpQueuedReplot);
}

void HistogramPlot::setLogarithmic(bool on)
{
    m_isLogarithmic = on;
    place();
}

void HistogramPlot::show(std::vector<HistogramBin> bins)
{
    m_bins = std::move(bins);
    std::uint64_t most = 0;
    std::size_t mostAt = 0;
    for (std::size_t i = 0; i < m_bins.size(); ++i)
        if (m_bins[i].count > most) {
            most = m_bins[i].count;
            mostAt = i;
        }
    setAccessibleDescription(m_bins.empty() ? tr("no finite values")
                                            : tr("%1 bins from %2 to %3; most values, %4, from %5 to %6")
                                                  .arg(numberText(m_bins.size()))
                                                  .arg(m_bins.front().begin)
                                                  .arg(m_bins.back().end)
                                                  .arg(numberText(most))
                                                  .arg(m_bins[mostAt].begin)
                                                  .arg(m_bins[mostAt].end));
    place();
}

void HistogramPlot::place()
{
    const double base = m_isLogarithmic ? kLeastOnLogAxis : 0;
    double most = 1;
    QVector<double> centres;
    QVector<double> heights;
    for (const HistogramBin& bin : m_bins) {
        const auto count = static_cast<double>(bin.count);
        most = std::max(most, count);
        centres.push_back((bin.begin + bin.end) / 2);
        heights.push_back(bin.count == 0 ? 0 : count - base); // a bar's value counts from its base
    }
    m_bars->setBaseValue(base);
    m_bars->setData(centres, heights, true);
    if (!m_bins.empty()) {
        const double width = m_bins.front().end - m_bins.front().begin;
        m_bars->setWidth(width * (m_bins.size() > 1 ? 0.94 : 1));
        m_plot->xAxis->setRange(m_bins.front().begin - width / 2, m_bins.back().end + width / 2);
    }
    m_plot->yAxis->setScaleType(m_isLogarithmic ? QCPAxis::stLogarithmic : QCPAxis::stLinear);
    m_plot->yAxis->setTicker(m_isLogarithmic ? QSharedPointer<QCPAxisTicker>(new QCPAxisTickerLog) : QSharedPointer<QCPAxisTicker>::create());
    m_plot->yAxis->setNumberFormat(QStringLiteral("gb"));
    m_plot->xAxis->setNumberFormat(QStringLiteral("gb"));
    m_plot->yAxis->setNumberPrecision(m_isLogarithmic ? 0 : 6);
    m_plot->yAxis->setRange(base, most * (m_isLogarithmic ? 1.5 : kRoomAbove));
    m_plot->replot(QCustomPlot::rpQueuedReplot);
}

} // namespace shardlens::ui
