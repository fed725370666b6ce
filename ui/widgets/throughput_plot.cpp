#include "ui/widgets/throughput_plot.h"

#include "core/base/text.h"
#include "ui/theme/theme.h"
#include "ui/widgets/plot_style.h"

#include <QPainter>
#include <QVBoxLayout>

#include <qcustomplot.h>

#include <algorithm>
#include <cmath>

namespace shardlens::ui {
namespace {

constexpr int kWrittenSlot = 0; // teal
constexpr int kReadSlot = 3;    // rust
constexpr float kFillOpacity = 0.18F;
constexpr double kGiga = 1e9;
constexpr double kMega = 1e6;

// Steps of 10 s, labelled with their unit; during the first minute it is the whole of it.
QSharedPointer<QCPAxisTickerText> secondTicks(double first, double last)
{
    auto ticker = QSharedPointer<QCPAxisTickerText>::create();
    for (double at = std::ceil(first / 10) * 10; at <= last; at += 10)
        ticker->addTick(at, ThroughputPlot::tr("%1 s").arg(at, 0, 'f', 0));
    return ticker;
}

} // namespace

ThroughputPlot::ThroughputPlot(QWidget* parent) : QWidget(parent), m_plot(new QCustomPlot(this)), m_unit(tr("MB/s"))
{
    auto* layout = new QVBoxLayout(this);
    layout->setContentsMargins(0, 0, 0, 0);
    layout->addWidget(m_plot);
    m_plot->setAttribute(Qt::WA_TransparentForMouseEvents);
    m_written = m_plot->addGraph();
    m_read = m_plot->addGraph();
    m_now = new QCPItemLine(m_plot);
    m_nowText = new QCPItemText(m_plot);
    m_nowText->setText(tr("now"));
    m_nowText->setPositionAlignment(Qt::AlignLeft | Qt::AlignTop);
    m_nowText->position->setTypeX(QCPItemPosition::ptPlotCoords);
    m_nowText->position->setTypeY(QCPItemPosition::ptAxisRectRatio);
    m_now->start->setTypeX(QCPItemPosition::ptPlotCoords);
    m_now->start->setTypeY(QCPItemPosition::ptAxisRectRatio);
    m_now->end->setTypeX(QCPItemPosition::ptPlotCoords);
    m_now->end->setTypeY(QCPItemPosition::ptAxisRectRatio);
    m_plot->xAxis->grid()->setVisible(false);
    setSizePolicy(QSizePolicy::Expanding, QSizePolicy::Fixed);
    setAccessibleName(tr("Throughput"));
    connect(&Theme::current(), &Theme::changed, this, &ThroughputPlot::applyTheme);
    applyTheme();
    show({}, false);
}

QSize ThroughputPlot::sizeHint() const
{
    return {Theme::current().px(400), Theme::current().px(160)};
}

void ThroughputPlot::applyTheme()
{
    const Theme& theme = Theme::current();
    stylePlot(*m_plot);
    m_plot->yAxis->setBasePen(Qt::NoPen);
    m_plot->yAxis->setTickLabelPadding(theme.px(8));
    m_written->setPen(QPen(theme.categorical(kWrittenSlot), 1.6));
    QColor fill = theme.categorical(kWrittenSlot);
    fill.setAlphaF(kFillOpacity);
    m_written->setBrush(fill);
    m_read->setPen(QPen(theme.categorical(kReadSlot), 1.2));
    QPen dashes(theme.colour(Token::BorderStrong), 1);
    dashes.setDashPattern({3, 3});
    m_now->setPen(dashes);
    m_nowText->setFont(theme.font(TextStyle::Caption));
    m_nowText->setColor(theme.colour(Token::Text3));
    m_nowText->setPadding(QMargins(theme.px(8), theme.px(2), 0, 0));
    updateGeometry();
    m_plot->replot(QCustomPlot::rpQueuedReplot);
}

void ThroughputPlot::show(const std::deque<RateSample>& samples, bool running)
{
    double largest = 0;
    for (const RateSample& sample : samples)
        largest = std::max({largest, sample.read, sample.written});
    const bool giga = largest >= kGiga;
    m_unit = giga ? tr("GB/s") : tr("MB/s");
    const double scale = giga ? kGiga : kMega;
    QVector<double> seconds;
    QVector<double> read;
    QVector<double> written;
    for (const RateSample& sample : samples) {
        seconds.push_back(sample.seconds);
        read.push_back(sample.read / scale);
        written.push_back(sample.written / scale);
    }
    m_read->setData(seconds, read, true);
    m_written->setData(seconds, written, true);
    placeAxes(samples, largest / scale);
    placeNow(samples.empty() ? 0 : samples.back().seconds, running);
    if (!samples.empty())
        setAccessibleDescription(tr("read %1, written %2").arg(QString::fromStdString(rateText(samples.back().read)),
                                                               QString::fromStdString(rateText(samples.back().written))));
    m_plot->replot(QCustomPlot::rpQueuedReplot);
}

void ThroughputPlot::placeAxes(const std::deque<RateSample>& samples, double largest)
{
    const double last = samples.empty() ? 0 : samples.back().seconds;
    const double end = std::max(last, JobRate::kWindowSeconds);
    const double begin = end - JobRate::kWindowSeconds;
    m_plot->xAxis->setRange(begin, end);
    m_plot->xAxis->setTicker(secondTicks(begin, end));
    const double top = niceTop(largest);
    m_plot->yAxis->setRange(0, top * 1.02);
    auto ticker = QSharedPointer<QCPAxisTickerFixed>::create();
    const double lead = top / std::pow(10, std::floor(std::log10(top) + 1e-9));
    ticker->setTickStep(lead > 2.5 && lead < 3.5 ? top / 3 : lead > 4.5 && lead < 5.5 ? top / 5 : top / 2);
    m_plot->yAxis->setTicker(ticker);
}

void ThroughputPlot::placeNow(double seconds, bool running)
{
    const double end = std::max(seconds, JobRate::kWindowSeconds);
    m_now->setVisible(running && seconds > 0);
    m_nowText->setVisible(running && seconds > 0 && seconds < end - 4);
    m_now->start->setCoords(seconds, 0);
    m_now->end->setCoords(seconds, 1);
    m_nowText->position->setCoords(seconds, 0);
}

double niceTop(double value)
{
    if (!(value > 0))
        return 1;
    const double power = std::pow(10, std::floor(std::log10(value)));
    for (const double step : {1.0, 2.0, 3.0, 5.0})
        if (value <= step * power)
            return step * power;
    return 10 * power;
}

ThroughputLegend::ThroughputLegend(QWidget* parent) : QWidget(parent)
{
    setSizePolicy(QSizePolicy::Fixed, QSizePolicy::Fixed);
    connect(&Theme::current(), &Theme::changed, this, [this] {
        updateGeometry();
        update();
    });
}

QSize ThroughputLegend::sizeHint() const
{
    const Theme& theme = Theme::current();
    const QFontMetrics metrics(theme.font(TextStyle::Body));
    return {metrics.horizontalAdvance(tr("read")) + metrics.horizontalAdvance(tr("written")) + theme.px(64), metrics.height()};
}

void ThroughputLegend::paintEvent(QPaintEvent*)
{
    const Theme& theme = Theme::current();
    QPainter painter(this);
    painter.setFont(theme.font(TextStyle::Body));
    const QFontMetrics metrics = painter.fontMetrics();
    int x = 0;
    const auto entry = [&](int slot, const QString& text) {
        painter.fillRect(x, (height() - theme.px(3)) / 2, theme.px(12), theme.px(3), theme.categorical(slot));
        x += theme.px(18);
        painter.setPen(theme.colour(Token::Text2));
        painter.drawText(QRect(x, 0, metrics.horizontalAdvance(text) + 2, height()), Qt::AlignVCenter, text);
        x += metrics.horizontalAdvance(text) + theme.px(28);
    };
    entry(kReadSlot, tr("read"));
    entry(kWrittenSlot, tr("written"));
}

} // namespace shardlens::ui
