#include "ui/widgets/precision_plot.h"

#include "ui/models/atlas_text.h"
#include "ui/theme/theme.h"
#include "ui/widgets/plot_style.h"

#include <QHelpEvent>
#include <QMouseEvent>
#include <QToolTip>
#include <QVBoxLayout>

#include <qcustomplot.h>

#include <algorithm>
#include <cmath>

namespace shardlens::ui {
namespace {

constexpr int kLeastPixels = 48;
constexpr double kPoor = 15;     // dB: below it a loss of quality is to be expected (formats/quantization.md §9)
constexpr double kExact = 60;    // where points without any error are drawn
constexpr double kNear = 12;     // design pixels

double heightOf(const TensorPrecision& one)
{
    return std::clamp(one.signalToNoise().value_or(kExact), 0.0, kExact);
}

} // namespace

PrecisionPlot::PrecisionPlot(QWidget* parent) : QWidget(parent), m_plot(new QCustomPlot(this)), m_good(m_plot->addGraph()), m_poor(m_plot->addGraph())
{
    auto* layout = new QVBoxLayout(this);
    layout->setContentsMargins(0, 0, 0, 0);
    layout->addWidget(m_plot);
    m_plot->setAttribute(Qt::WA_TransparentForMouseEvents);
    m_plot->setMinimumSize(kLeastPixels, kLeastPixels); // the plot cannot paint on nothing
    for (QCPGraph* graph : {m_good, m_poor})
        graph->setLineStyle(QCPGraph::lsNone);
    m_plot->xAxis->grid()->setVisible(false);
    m_plot->xAxis->setLabel(tr("tensors, from the first layer to the last"));
    m_plot->yAxis->setLabel(tr("signal to noise, dB"));
    setAccessibleName(tr("Signal to noise by layer"));
    setMouseTracking(true);
    connect(&Theme::current(), &Theme::changed, this, &PrecisionPlot::applyTheme);
    applyTheme();
}

QSize PrecisionPlot::sizeHint() const
{
    return {Theme::current().px(480), Theme::current().px(200)};
}

void PrecisionPlot::applyTheme()
{
    const Theme& theme = Theme::current();
    stylePlot(*m_plot);
    const auto dots = [&](QCPGraph* graph, const QColor& colour) {
        graph->setScatterStyle(QCPScatterStyle(QCPScatterStyle::ssDisc, colour, colour, theme.px(6)));
    };
    dots(m_good, theme.sequential(5));
    dots(m_poor, theme.colour(Token::Warn));
    updateGeometry();
    m_plot->replot(QCustomPlot::rpQueuedReplot);
}

void PrecisionPlot::setTensors(std::vector<TensorPrecision> tensors)
{
    m_tensors = std::move(tensors);
    place();
}

void PrecisionPlot::place()
{
    QVector<double> goodAt;
    QVector<double> good;
    QVector<double> poorAt;
    QVector<double> poor;
    double least = kExact;
    double most = 0;
    for (std::size_t i = 0; i < m_tensors.size(); ++i) {
        const double height = heightOf(m_tensors[i]);
        const bool isPoor = height < kPoor || !m_tensors[i].problem.empty();
        (isPoor ? poorAt : goodAt).push_back(static_cast<double>(i));
        (isPoor ? poor : good).push_back(height);
        least = std::min(least, height);
        most = std::max(most, height);
    }
    m_good->setData(goodAt, good, true);
    m_poor->setData(poorAt, poor, true);
    const double margin = std::max((most - least) * 0.15, 2.0);
    m_plot->xAxis->setRange(-0.8, std::max(static_cast<double>(m_tensors.size()), 1.0) - 0.2);
    m_plot->yAxis->setRange(std::max(least - margin, 0.0), most + margin);
    setAccessibleDescription(m_tensors.empty() ? QString() : tr("%1 tensors from %2 to %3 dB; %4 below %5 dB").arg(m_tensors.size()).arg(least, 0, 'f', 1).arg(most, 0, 'f', 1).arg(poor.size()).arg(kPoor));
    m_plot->replot(QCustomPlot::rpQueuedReplot);
}

std::optional<std::size_t> PrecisionPlot::pointAt(QPointF place) const
{
    std::optional<std::size_t> best;
    double nearest = Theme::current().px(kNear);
    for (std::size_t i = 0; i < m_tensors.size(); ++i) {
        const double x = m_plot->xAxis->coordToPixel(static_cast<double>(i)) + m_plot->x() - place.x();
        const double y = m_plot->yAxis->coordToPixel(heightOf(m_tensors[i])) + m_plot->y() - place.y();
        if (const double distance = std::hypot(x, y); distance < nearest) {
            nearest = distance;
            best = i;
        }
    }
    return best;
}

bool PrecisionPlot::event(QEvent* event)
{
    if (event->type() != QEvent::ToolTip)
        return QWidget::event(event);
    const auto* help = static_cast<QHelpEvent*>(event);
    const auto at = pointAt(help->pos());
    if (!at) {
        QToolTip::hideText();
        return true;
    }
    const TensorPrecision& one = m_tensors[*at];
    const auto noise = one.signalToNoise();
    QToolTip::showText(help->globalPos(), tr("%1\n%2, %3", "name, scheme, what it loses").arg(printableText(one.name), QString::fromStdString(one.scheme), noise ? tr("%1 dB").arg(*noise, 0, 'f', 1) : tr("exact")), this);
    return true;
}

void PrecisionPlot::mousePressEvent(QMouseEvent* event)
{
    if (const auto at = pointAt(event->position()))
        emit chosen(QString::fromStdString(m_tensors[*at].name));
    QWidget::mousePressEvent(event);
}

} // namespace shardlens::ui
