#include "ui/widgets/depth_plot.h"

#include "ui/theme/theme.h"
#include "ui/widgets/plot_style.h"

#include <QAccessible>
#include <QHelpEvent>
#include <QKeyEvent>
#include <QMouseEvent>
#include <QPainter>
#include <QToolTip>
#include <QVBoxLayout>

#include <qcustomplot.h>

#include <algorithm>
#include <cmath>

namespace shardlens::ui {
namespace {

constexpr int kLeastPixels = 48;
constexpr double kFarApart = 50; // times: further apart, small heights could not be told from zero
constexpr int kTicks = 3;        // about
constexpr double kMargin = 0.12; // of the span of heights, above and below
// Design pixels.
constexpr double kNear = 12;
constexpr int kDot = 6;
constexpr int kManyDots = 4;
constexpr std::size_t kMany = 400; // points: smaller dots

} // namespace

DepthPlot::DepthPlot(const QString& heights, QWidget* parent)
    : QWidget(parent), m_plot(new QCustomPlot(this)), m_plain(m_plot->addGraph()), m_marked(m_plot->addGraph()), m_ring(m_plot->addGraph()), m_heights(heights)
{
    auto* layout = new QVBoxLayout(this);
    layout->setContentsMargins(2, 2, 2, 2); // the ring of the focus
    layout->addWidget(m_plot);
    m_plot->setAttribute(Qt::WA_TransparentForMouseEvents);
    m_plot->setMinimumSize(kLeastPixels, kLeastPixels); // the plot cannot paint on nothing
    for (QCPGraph* graph : {m_plain, m_marked, m_ring})
        graph->setLineStyle(QCPGraph::lsNone);
    m_plot->xAxis->grid()->setVisible(false);
    m_plot->xAxis->setTickLabels(false);
    m_plot->xAxis->setTicks(false);
    setFocusPolicy(Qt::StrongFocus);
    setMouseTracking(true);
    setAccessibleName(tr("%1 by layer", "signal to noise").arg(heights));
    connect(&Theme::current(), &Theme::changed, this, &DepthPlot::applyTheme);
    applyTheme();
}

QSize DepthPlot::sizeHint() const
{
    return {Theme::current().px(480), Theme::current().px(180)};
}

void DepthPlot::applyTheme()
{
    const Theme& theme = Theme::current();
    stylePlot(*m_plot);
    const int dot = theme.px(m_points.size() > kMany ? kManyDots : kDot);
    m_plain->setScatterStyle({QCPScatterStyle::ssDisc, theme.sequential(5), theme.sequential(5), static_cast<double>(dot)});
    m_marked->setScatterStyle({QCPScatterStyle::ssDisc, theme.colour(Token::Warn), theme.colour(Token::Warn), static_cast<double>(dot)});
    m_ring->setScatterStyle({QCPScatterStyle::ssCircle, QPen(theme.colour(Token::Accent), 2), Qt::NoBrush, static_cast<double>(2 * dot)});
    setMinimumHeight(theme.px(96));
    updateGeometry();
    m_plot->replot(QCustomPlot::rpQueuedReplot);
}

void DepthPlot::setPoints(std::vector<DepthPoint> points)
{
    m_points = std::move(points);
    m_current.reset();
    applyTheme();
    place();
}

void DepthPlot::place()
{
    QVector<double> plainAt;
    QVector<double> plain;
    QVector<double> markedAt;
    QVector<double> marked;
    for (std::size_t i = 0; i < m_points.size(); ++i) {
        (m_points[i].isMarked ? markedAt : plainAt).push_back(static_cast<double>(i));
        (m_points[i].isMarked ? marked : plain).push_back(m_points[i].height);
    }
    m_plain->setData(plainAt, plain, true);
    m_marked->setData(markedAt, marked, true);
    const double count = std::max(static_cast<double>(m_points.size()), 1.0);
    m_plot->xAxis->setRange(-0.5 - 0.01 * count, count - 0.5 + 0.01 * count);
    placeHeights();
    setAccessibleDescription(m_points.empty() ? tr("nothing to show") : tr("%n points, %1 marked; arrow keys go from one to the next", nullptr, static_cast<int>(m_points.size())).arg(marked.size()));
    setCurrent(m_current);
}

void DepthPlot::placeHeights()
{
    double least = 0;
    double most = 1;
    if (!m_points.empty()) {
        const auto [low, high] = std::minmax_element(m_points.begin(), m_points.end(), [](const DepthPoint& a, const DepthPoint& b) { return a.height < b.height; });
        least = low->height;
        most = high->height;
    }
    const bool isLogarithmic = least > 0 && most / least > kFarApart;
    m_plot->yAxis->setScaleType(isLogarithmic ? QCPAxis::stLogarithmic : QCPAxis::stLinear);
    const QSharedPointer<QCPAxisTicker> ticker(isLogarithmic ? new QCPAxisTickerLog : new QCPAxisTicker);
    ticker->setTickCount(kTicks);
    m_plot->yAxis->setTicker(ticker);
    m_plot->yAxis->setNumberFormat(isLogarithmic ? QStringLiteral("eb") : QStringLiteral("gb"));
    m_plot->yAxis->setNumberPrecision(isLogarithmic ? 0 : 4);
    m_plot->yAxis->setLabel(isLogarithmic ? tr("%1 (log)").arg(m_heights) : m_heights);
    if (isLogarithmic) {
        const double margin = std::pow(most / least, kMargin);
        m_plot->yAxis->setRange(least / margin, most * margin);
        return;
    }
    if (least == 0 && most == 0) { // nothing is anywhere: an axis of its own would say thousandths
        m_plot->yAxis->setRange(-kMargin, 1 + kMargin);
        return;
    }
    const double margin = most > least ? (most - least) * kMargin : std::max(std::abs(most) * kMargin, 1e-3);
    m_plot->yAxis->setRange(least - margin, most + margin);
}

void DepthPlot::setCurrent(std::optional<std::size_t> point)
{
    m_current = point && *point < m_points.size() ? point : std::nullopt;
    if (m_current)
        m_ring->setData({static_cast<double>(*m_current)}, {m_points[*m_current].height}, true);
    else
        m_ring->setData({}, {}, true);
    m_plot->replot(QCustomPlot::rpQueuedReplot);
}

QPointF DepthPlot::placeOf(std::size_t point) const
{
    return {m_plot->xAxis->coordToPixel(static_cast<double>(point)) + m_plot->x(), m_plot->yAxis->coordToPixel(m_points[point].height) + m_plot->y()};
}

std::optional<std::size_t> DepthPlot::pointAt(QPointF place) const
{
    std::optional<std::size_t> best;
    double nearest = Theme::current().px(kNear);
    for (std::size_t i = 0; i < m_points.size(); ++i) {
        const QPointF away = placeOf(i) - place;
        if (const double distance = std::hypot(away.x(), away.y()); distance < nearest) {
            nearest = distance;
            best = i;
        }
    }
    return best;
}

bool DepthPlot::event(QEvent* event)
{
    if (event->type() != QEvent::ToolTip)
        return QWidget::event(event);
    const auto* help = static_cast<QHelpEvent*>(event);
    if (const auto at = pointAt(help->pos()))
        QToolTip::showText(help->globalPos(), m_points[*at].words.toHtmlEscaped().replace(QLatin1Char('\n'), QStringLiteral("<br>")), this);
    else
        QToolTip::hideText();
    return true;
}

void DepthPlot::mousePressEvent(QMouseEvent* event)
{
    if (const auto at = pointAt(event->position())) {
        setCurrent(at);
        emit chosen(*at);
    }
}

void DepthPlot::keyPressEvent(QKeyEvent* event)
{
    const auto go = [this](std::size_t point) {
        setCurrent(point);
        announce();
    };
    if (m_points.empty())
        return QWidget::keyPressEvent(event);
    const std::size_t last = m_points.size() - 1;
    switch (event->key()) {
    case Qt::Key_Right: return go(m_current ? std::min(*m_current + 1, last) : 0);
    case Qt::Key_Left: return go(m_current ? *m_current - std::min<std::size_t>(*m_current, 1) : last);
    case Qt::Key_Home: return go(0);
    case Qt::Key_End: return go(last);
    case Qt::Key_Return:
    case Qt::Key_Enter:
    case Qt::Key_Space:
        if (m_current)
            emit chosen(*m_current);
        return;
    default: QWidget::keyPressEvent(event);
    }
}

// The point that a key has gone to: said, and shown beside it.
void DepthPlot::announce()
{
    setAccessibleDescription(m_points[*m_current].words);
    QAccessibleEvent changed(this, QAccessible::DescriptionChanged);
    QAccessible::updateAccessibility(&changed);
    QToolTip::showText(mapToGlobal(placeOf(*m_current).toPoint()), m_points[*m_current].words.toHtmlEscaped().replace(QLatin1Char('\n'), QStringLiteral("<br>")), this);
}

void DepthPlot::focusInEvent(QFocusEvent* event)
{
    QWidget::focusInEvent(event);
    update();
}

void DepthPlot::focusOutEvent(QFocusEvent* event)
{
    QWidget::focusOutEvent(event);
    update();
}

void DepthPlot::paintEvent(QPaintEvent*)
{
    if (!hasFocus())
        return;
    QPainter painter(this);
    painter.setPen(QPen(Theme::current().colour(Token::Accent), 2));
    painter.drawRect(rect().adjusted(1, 1, -1, -1));
}

} // namespace shardlens::ui
