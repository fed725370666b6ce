#include "ui/widgets/stage_strip.h"

#include "core/base/text.h"
#include "ui/models/atlas_text.h"
#include "ui/models/pipeline_plan.h"
#include "ui/theme/theme.h"

#include <QHelpEvent>
#include <QKeyEvent>
#include <QMouseEvent>
#include <QPainter>
#include <QPainterPath>
#include <QToolTip>

#include <algorithm>
#include <cmath>

namespace shardlens::ui {
namespace {

// Design pixels.
constexpr int kSide = 10; // room for the handles at the ends
constexpr int kStageRow = 36;
constexpr int kMarkRow = 10;
constexpr int kLayerRow = 56;
constexpr int kGripRow = 26;
constexpr int kGripWidth = 10;
constexpr int kGripHeight = 18;
constexpr int kLeastLayer = 3;
constexpr int kReach = 7;
constexpr double kMostLeast = 0.35; // of the width may go to layers that would be narrower than kLeastLayer
constexpr std::size_t kMostSpoken = 32; // stages in words
constexpr double kLeastHandleGap = 6;
constexpr double kLeastDivided = 3; // pixels

QString layersText(std::uint32_t begin, std::uint32_t end)
{
    if (begin == end)
        return StageStrip::tr("no layer");
    return end - begin == 1 ? StageStrip::tr("layer %1").arg(numberText(begin))
                            : StageStrip::tr("layers %1 to %2").arg(numberText(begin), numberText(end - 1));
}

} // namespace

StageStrip::StageStrip(PipelinePlan* plan, QWidget* parent) : QWidget(parent), m_plan(plan)
{
    setFocusPolicy(Qt::StrongFocus);
    setMouseTracking(true);
    setSizePolicy(QSizePolicy::Expanding, QSizePolicy::Fixed);
    setAccessibleName(tr("Layers and stages"));
    connect(plan, &PipelinePlan::changed, this, &StageStrip::follow);
    connect(&Theme::current(), &Theme::changed, this, [this] {
        updateGeometry();
        place();
    });
    follow();
}

QSize StageStrip::sizeHint() const
{
    const Theme& theme = Theme::current();
    return {theme.px(640), theme.px(kStageRow) + theme.px(kMarkRow) + theme.px(kLayerRow) + theme.px(kGripRow)};
}

QSize StageStrip::minimumSizeHint() const
{
    return {Theme::current().px(240), sizeHint().height()};
}

const std::vector<std::uint32_t>& StageStrip::parts() const
{
    return m_plan->preview().partition.parts;
}

void StageStrip::follow()
{
    if (m_plan->state() == PipelinePlan::State::Ready) {
        m_widths = m_plan->widths();
        if (m_widths.empty())
            m_widths.assign(parts().back(), 1);
        if (m_boundary + 1 >= parts().size())
            m_boundary = 0;
        QStringList stages;
        for (std::size_t i = 0; i + 1 < parts().size() && i < kMostSpoken; ++i)
            stages << tr("stage %1: %2").arg(numberText(i), layersText(parts()[i], parts()[i + 1]));
        setAccessibleDescription(stages.join(QStringLiteral("; ")) + QStringLiteral(". ") + boundarySentence());
    }
    place();
}

void StageStrip::place()
{
    const Theme& theme = Theme::current();
    const double room = std::max(1.0, width() - 2.0 * theme.px(kSide));
    const auto count = static_cast<double>(m_widths.size());
    const double least = std::min<double>(theme.px(kLeastLayer), kMostLeast * room / std::max(1.0, count));
    double sum = 0;
    for (const double one : m_widths)
        sum += one;
    const double scale = sum > 0 ? (room - count * least) / sum : 0;
    m_edges.assign(1, theme.px(kSide));
    for (const double one : m_widths)
        m_edges.push_back(m_edges.back() + least + one * scale);
    update();
}

void StageStrip::resizeEvent(QResizeEvent*)
{
    place();
}

void StageStrip::chooseBoundary(std::size_t boundary)
{
    if (boundary + 1 >= parts().size() || boundary == m_boundary)
        return;
    m_boundary = boundary;
    m_plan->endMove();
    follow();
    emit boundaryChosen(boundary);
}

void StageStrip::markLayer(std::optional<std::size_t> layer)
{
    m_marked = layer;
    update();
}

QString StageStrip::boundarySentence() const
{
    if (m_plan->state() != PipelinePlan::State::Ready || parts().size() < 3)
        return {};
    if (m_boundary == 0)
        return tr("Drag a boundary, or choose one with Up and Down and move it with Left and Right.");
    const std::uint32_t begin = parts()[m_boundary];
    const QString stage = numberText(m_boundary);
    if (begin == m_widths.size())
        return tr("Boundary %1: stage %1 begins behind the last layer.").arg(stage);
    const QString name = m_plan->nameOfLayer(begin);
    const QString layer =
        name.isEmpty() || name == QString::number(begin) ? numberText(begin) : QStringLiteral("%1 (%2)").arg(numberText(begin), name);
    return parts()[m_boundary + 1] == begin ? tr("Boundary %1: before layer %2; stage %1 has none.").arg(stage, layer)
                                            : tr("Boundary %1: stage %1 begins with layer %2.").arg(stage, layer);
}

std::optional<std::size_t> StageStrip::layerAt(double x) const
{
    if (m_widths.empty() || x < m_edges.front() || x >= m_edges.back())
        return std::nullopt;
    return static_cast<std::size_t>(std::upper_bound(m_edges.begin(), m_edges.end(), x) - m_edges.begin()) - 1;
}

std::uint32_t StageStrip::nearestEdge(double x) const
{
    const auto right = std::lower_bound(m_edges.begin(), m_edges.end(), x);
    if (right == m_edges.begin())
        return 0;
    if (right == m_edges.end())
        return static_cast<std::uint32_t>(m_edges.size() - 1);
    const bool isLeft = x - *(right - 1) < *right - x;
    return static_cast<std::uint32_t>(right - m_edges.begin() - (isLeft ? 1 : 0));
}

std::optional<std::size_t> StageStrip::boundaryAt(double x) const
{
    if (m_plan->state() != PipelinePlan::State::Ready)
        return std::nullopt;
    std::optional<std::size_t> best;
    double reach = Theme::current().px(kReach);
    for (std::size_t i = 1; i + 1 < parts().size(); ++i) {
        const double distance = std::abs(m_edges[parts()[i]] - x);
        if (distance < reach || (distance <= reach && i == m_boundary)) {
            reach = distance;
            best = i;
        }
    }
    return best;
}

void StageStrip::paintEvent(QPaintEvent*)
{
    if (m_plan->state() != PipelinePlan::State::Ready)
        return;
    QPainter painter(this);
    painter.setRenderHint(QPainter::Antialiasing);
    for (std::size_t i = 0; i + 1 < parts().size(); ++i)
        paintStage(painter, i);
    paintMark(painter);
    if (m_plan->isMoved())
        paintOriginal(painter);
    paintHandles(painter);
}

void StageStrip::paintStage(QPainter& painter, std::size_t stage) const
{
    const Theme& theme = Theme::current();
    const QColor colour = theme.categorical(static_cast<int>(stage % 12));
    paintLayers(painter, stage, colour);
    paintLabels(painter, stage);
    const double left = m_edges[parts()[stage]];
    const double right = m_edges[parts()[stage + 1]];
    if (right - left > 4) // the bracket under the label
        painter.fillRect(QRectF(left + 1, theme.px(kStageRow), right - left - 2, theme.px(3)), colour);
}

void StageStrip::paintLayers(QPainter& painter, std::size_t stage, const QColor& colour) const
{
    const Theme& theme = Theme::current();
    const double top = theme.px(kStageRow) + theme.px(kMarkRow);
    const QFontMetricsF metrics(theme.font(TextStyle::Caption));
    painter.setFont(theme.font(TextStyle::Caption));
    const double begin = m_edges[parts()[stage]];
    painter.fillRect(QRectF(begin, top, m_edges[parts()[stage + 1]] - begin, theme.px(kLayerRow)), colour);
    for (std::size_t layer = parts()[stage]; layer < parts()[stage + 1]; ++layer) {
        const QRectF box(m_edges[layer], top, m_edges[layer + 1] - m_edges[layer], theme.px(kLayerRow));
        if (box.width() < kLeastDivided)
            continue; // too narrow to be told apart
        const bool isEmpty = m_widths[layer] == 0;
        const QColor ground = isEmpty ? theme.colour(Token::TierAlt) : colour;
        if (isEmpty)
            painter.fillRect(box, ground);
        painter.fillRect(QRectF(std::round(box.right()) - 1, top, 1, box.height()), theme.colour(Token::Surface));
        const QString name = m_plan->nameOfLayer(layer);
        for (const QString& label : {name, numberText(layer)})
            if (!label.isEmpty() && metrics.horizontalAdvance(label) + theme.px(8) <= box.width()) {
                painter.setPen(isEmpty ? theme.colour(Token::Text2) : Theme::inkOn(ground));
                painter.drawText(box, Qt::AlignCenter, label);
                break;
            }
    }
}

void StageStrip::paintLabels(QPainter& painter, std::size_t stage) const
{
    const Theme& theme = Theme::current();
    const double left = m_edges[parts()[stage]];
    const double room = m_edges[parts()[stage + 1]] - left;
    const PartitionPreview& preview = m_plan->preview();
    const auto draw = [&](const QStringList& candidates, TextStyle style, Token ink, int top, int height) {
        painter.setFont(theme.font(style));
        painter.setPen(theme.colour(ink));
        for (const QString& text : candidates)
            if (painter.fontMetrics().horizontalAdvance(text) + theme.px(4) <= room) {
                painter.drawText(QRectF(left, top, room, height), Qt::AlignCenter, text);
                return;
            }
    };
    draw({tr("stage %1").arg(numberText(stage)), numberText(stage)}, TextStyle::Strong, Token::Text, 0, theme.px(18));
    if (!preview.partition.hasWeights)
        return;
    const std::uint64_t weight = preview.partition.stages[stage].weight;
    const QString share = QString::fromStdString(countText(weight));
    draw({preview.partition.countsMatches ? counted(weight, tr("1 match"), tr("%1 matches")) : share, share}, TextStyle::Caption,
         Token::Text2, theme.px(17), theme.px(16));
}

void StageStrip::paintHandles(QPainter& painter) const
{
    double last = -kLeastHandleGap;
    for (std::size_t i = 1; i + 1 < parts().size(); ++i) {
        const double x = m_edges[parts()[i]];
        if (i == m_boundary || x - last < kLeastHandleGap)
            continue; // at one place only one handle shows
        paintHandle(painter, i, x);
        last = x;
    }
    if (m_boundary > 0)
        paintHandle(painter, m_boundary, m_edges[parts()[m_boundary]]);
}

void StageStrip::paintHandle(QPainter& painter, std::size_t boundary, double x) const
{
    const Theme& theme = Theme::current();
    const bool isChosen = boundary == m_boundary;
    const double top = theme.px(kStageRow) + theme.px(kMarkRow) / 2.0;
    const double bottom = theme.px(kStageRow) + theme.px(kMarkRow) + theme.px(kLayerRow);
    const double middle = x - 0.5; // between two layers
    painter.setPen(QPen(theme.colour(Token::Halo), isChosen ? 5 : 4));
    painter.drawLine(QPointF(middle, top), QPointF(middle, bottom));
    painter.setPen(QPen(theme.colour(isChosen ? Token::Accent : Token::Selection), isChosen ? 3 : 2));
    painter.drawLine(QPointF(middle, top), QPointF(middle, bottom + theme.px(4)));
    const QRectF grip(middle - theme.px(kGripWidth) / 2.0, bottom + theme.px(4), theme.px(kGripWidth), theme.px(kGripHeight));
    painter.setPen(QPen(theme.colour(isChosen ? Token::Accent : Token::BorderStrong), 1));
    painter.setBrush(theme.colour(isChosen ? Token::Accent : Token::Raised));
    painter.drawRoundedRect(grip, theme.px(3), theme.px(3));
    painter.setPen(QPen(theme.colour(isChosen ? Token::AccentText : Token::Text3), 1));
    for (const double line : {-1.5, 1.5})
        painter.drawLine(QPointF(middle + line, grip.top() + theme.px(5)), QPointF(middle + line, grip.bottom() - theme.px(5)));
    if (!isChosen || !hasFocus())
        return;
    painter.setBrush(Qt::NoBrush);
    painter.setPen(QPen(theme.colour(Token::Accent), 2));
    painter.drawRoundedRect(grip.adjusted(-3, -3, 3, 3), theme.px(5), theme.px(5));
}

// Where DeepSpeed cuts: a triangle above the layers and a dashed line through them.
void StageStrip::paintOriginal(QPainter& painter) const
{
    const Theme& theme = Theme::current();
    const std::vector<std::uint32_t>& original = m_plan->original().parts;
    const double tip = theme.px(kStageRow) + theme.px(kMarkRow);
    const double bottom = tip + theme.px(kLayerRow);
    const double half = theme.px(5);
    for (std::size_t i = 1; i + 1 < original.size(); ++i) {
        if (original[i] == parts()[i])
            continue;
        const double x = m_edges[original[i]] - 0.5;
        painter.setPen(QPen(theme.colour(Token::Halo), 3));
        painter.drawLine(QPointF(x, tip), QPointF(x, bottom));
        painter.setPen(QPen(theme.colour(Token::Text2), 1, Qt::DashLine));
        painter.drawLine(QPointF(x, tip), QPointF(x, bottom));
        painter.setPen(Qt::NoPen);
        painter.setBrush(theme.colour(Token::Text2));
        painter.drawPolygon(QPolygonF({QPointF(x, tip), QPointF(x - half, tip - theme.px(7)), QPointF(x + half, tip - theme.px(7))}));
    }
}

void StageStrip::paintMark(QPainter& painter) const
{
    if (!m_marked || *m_marked >= m_widths.size())
        return;
    const Theme& theme = Theme::current();
    const QRectF box(m_edges[*m_marked], theme.px(kStageRow) + theme.px(kMarkRow), m_edges[*m_marked + 1] - m_edges[*m_marked] - 1,
                     theme.px(kLayerRow));
    painter.setBrush(Qt::NoBrush);
    painter.setPen(QPen(theme.colour(Token::Halo), 4));
    painter.drawRect(box);
    painter.setPen(QPen(theme.colour(Token::Selection), 2));
    painter.drawRect(box);
}

void StageStrip::mousePressEvent(QMouseEvent* event)
{
    if (event->button() != Qt::LeftButton)
        return;
    const double x = event->position().x();
    m_pressedAt = x;
    if (const auto boundary = boundaryAt(x)) {
        chooseBoundary(*boundary);
        m_isDragging = true;
        return;
    }
    if (const auto layer = layerAt(x))
        emit layerChosen(*layer);
}

// Of several boundaries at one place, the outer one in the direction of the pull moves: an empty stage opens.
void StageStrip::drag(double x)
{
    const std::uint32_t to = nearestEdge(x);
    std::size_t boundary = m_boundary;
    const std::uint32_t from = parts()[boundary];
    while (to < from && boundary > 1 && parts()[boundary - 1] == from)
        --boundary;
    while (to > from && boundary + 2 < parts().size() && parts()[boundary + 1] == from)
        ++boundary;
    chooseBoundary(boundary);
    m_plan->moveBoundary(boundary, to);
}

void StageStrip::mouseMoveEvent(QMouseEvent* event)
{
    const double x = event->position().x();
    if (m_isDragging && m_boundary > 0)
        drag(x);
    else
        setCursor(boundaryAt(x) ? Qt::SplitHCursor : Qt::ArrowCursor);
}

void StageStrip::mouseReleaseEvent(QMouseEvent*)
{
    m_isDragging = false;
    m_plan->endMove();
}

void StageStrip::keyPressEvent(QKeyEvent* event)
{
    const bool isReady = m_plan->state() == PipelinePlan::State::Ready && parts().size() > 2;
    const std::size_t last = isReady ? parts().size() - 2 : 0;
    if (!isReady || event->modifiers().testFlag(Qt::ControlModifier) || event->modifiers().testFlag(Qt::AltModifier)) {
        QWidget::keyPressEvent(event);
        return;
    }
    const std::uint32_t at = m_boundary > 0 ? parts()[m_boundary] : 0;
    switch (event->key()) {
    case Qt::Key_Up: chooseBoundary(m_boundary > 1 ? m_boundary - 1 : 1); break;
    case Qt::Key_Down: chooseBoundary(std::min(m_boundary + 1, last)); break;
    case Qt::Key_Home: chooseBoundary(1); break;
    case Qt::Key_End: chooseBoundary(last); break;
    case Qt::Key_Left:
        if (m_boundary > 0 && at > 0)
            m_plan->moveBoundary(m_boundary, at - 1);
        break;
    case Qt::Key_Right:
        if (m_boundary > 0)
            m_plan->moveBoundary(m_boundary, at + 1);
        break;
    default: QWidget::keyPressEvent(event);
    }
}

void StageStrip::focusInEvent(QFocusEvent* event)
{
    if (m_boundary == 0 && event->reason() != Qt::MouseFocusReason && m_plan->state() == PipelinePlan::State::Ready)
        chooseBoundary(1);
    update();
}

void StageStrip::focusOutEvent(QFocusEvent*)
{
    m_plan->endMove();
    update();
}

QString StageStrip::tipAt(const QPoint& at) const
{
    if (const auto boundary = boundaryAt(at.x()); boundary && at.y() > Theme::current().px(kStageRow))
        return tr("Boundary %1, before layer %2. Drag it, or press Left and Right.")
            .arg(numberText(*boundary), numberText(parts()[*boundary]));
    const auto layer = layerAt(at.x());
    if (!layer || m_plan->state() != PipelinePlan::State::Ready)
        return {};
    const PartitionPreview& preview = m_plan->preview();
    const QString name = m_plan->nameOfLayer(*layer);
    QStringList lines{name.isEmpty() || name == QString::number(*layer) ? tr("layer %1").arg(numberText(*layer))
                                                                        : tr("layer %1, %2").arg(numberText(*layer), name)};
    if (!preview.weights.empty())
        lines << tr("%1 trainable parameters").arg(numberText(preview.weights[*layer]));
    if (preview.layers) {
        const PipelineLayer& facts = preview.layers->layers[*layer];
        if (facts.frozen > 0)
            lines << tr("%1 frozen").arg(numberText(facts.frozen));
        lines << tr("%1 in the checkpoint").arg(bytesText(facts.bytes));
        if (facts.parameters.empty())
            lines << tr("no tensors: a function, or nothing that is stored");
    }
    const auto stage = std::upper_bound(parts().begin(), parts().end(), static_cast<std::uint32_t>(*layer)) - parts().begin() - 1;
    lines << tr("stage %1").arg(numberText(static_cast<std::uint64_t>(stage)));
    for (QString& line : lines)
        line = line.toHtmlEscaped();
    return lines.join(QStringLiteral("<br>"));
}

bool StageStrip::event(QEvent* event)
{
    if (event->type() != QEvent::ToolTip)
        return QWidget::event(event);
    const auto* help = static_cast<QHelpEvent*>(event);
    const QString tip = tipAt(help->pos());
    if (tip.isEmpty())
        QToolTip::hideText();
    else
        QToolTip::showText(help->globalPos(), tip, this);
    return true;
}

} // namespace shardlens::ui
