#include "ui/widgets/slice_picture.h"

#include "core/base/text.h"
#include "ui/models/atlas_text.h"
#include "ui/theme/theme.h"
#include "ui/widgets/atlas_painter.h"
#include "ui/widgets/device_matrix_view.h"

#include <QKeyEvent>
#include <QMouseEvent>
#include <QPainter>

#include <algorithm>

namespace shardlens::ui {
namespace {

// Design pixels.
constexpr int kCaption = 20; // a line below the picture
constexpr int kEdge = 3;     // for the outline of the keyboard
constexpr int kTileGap = 6;
constexpr int kLeastLabel = 8;
constexpr double kLeastEdge = 4; // pixels from which slices are parted by a line

std::uint32_t sliceOf(const PictureBox& box)
{
    return static_cast<std::uint32_t>(indexOf(*box.piece));
}

} // namespace

SlicePicture::SlicePicture(QWidget* parent) : QWidget(parent)
{
    setMouseTracking(true);
    setFocusPolicy(Qt::StrongFocus);
    setSizePolicy(QSizePolicy::Expanding, QSizePolicy::Expanding);
    setAccessibleName(tr("Tensor: which slice is where"));
    connect(&Theme::current(), &Theme::changed, this, [this] {
        updateGeometry();
        updateLayout();
    });
}

void SlicePicture::show(DeviceMapPtr map)
{
    m_map = std::move(map);
    m_highlighted.reset();
    m_hovered.reset();
    m_focused = 0;
    m_tile = 0;
    rebuild();
}

void SlicePicture::rebuild()
{
    m_boxes = {};
    if (m_map) {
        std::vector<Box> boxes;
        for (const DeviceMap::Slice& slice : m_map->slices)
            boxes.push_back(slice.box);
        m_boxes = pictureBoxesOf(m_map->shape, boxes, m_tile);
    }
    describe();
    updateLayout();
}

void SlicePicture::describe()
{
    const bool has = m_map && m_focused < m_map->slices.size();
    setAccessibleDescription(has ? tr("%1; %2", "caption, the slice that has the keyboard").arg(caption(), m_map->sliceText(m_focused)) : caption());
}

QString SlicePicture::caption() const
{
    if (!m_map)
        return {};
    const QString shape = QString::fromStdString(shapeText(m_map->shape));
    if (m_map->slices.empty())
        return shape;
    const auto [least, most] = std::minmax_element(m_map->slices.begin(), m_map->slices.end(),
                                                   [](const DeviceMap::Slice& a, const DeviceMap::Slice& b) { return a.ranks.size() < b.ranks.size(); });
    const QString slices = m_map->slices.size() == 1 ? tr("%1, whole").arg(shape) : tr("%1, cut into %2 slices").arg(shape, numberText(m_map->slices.size()));
    if (most->ranks.size() == 1)
        return m_map->slices.size() == 1 ? tr("%1 on rank %2").arg(slices).arg(most->ranks.front()) : tr("%1, each on one rank").arg(slices);
    if (least->ranks.size() == most->ranks.size())
        return (m_map->slices.size() == 1 ? tr("%1 on %2 ranks") : tr("%1, each on %2 ranks")).arg(slices, numberText(most->ranks.size()));
    return tr("%1, each on %2 to %3 ranks").arg(slices, numberText(least->ranks.size()), numberText(most->ranks.size()));
}

void SlicePicture::updateLayout()
{
    const Theme& theme = Theme::current();
    const double edge = theme.px(kEdge);
    const QRectF room = QRectF(rect()).adjusted(edge, edge, -edge, -edge - theme.px(kCaption));
    const auto only = m_boxes.tiles > PictureLayout::kMostTiles ? std::optional(m_tile) : std::nullopt;
    m_layout = PictureLayout(m_boxes, room, only, theme.px(kTileGap));
    update();
}

void SlicePicture::resizeEvent(QResizeEvent*)
{
    updateLayout();
}

QSize SlicePicture::sizeHint() const
{
    const Theme& theme = Theme::current();
    return {theme.px(360), theme.px(200)};
}

QSize SlicePicture::minimumSizeHint() const
{
    const Theme& theme = Theme::current();
    return {theme.px(200), theme.px(160)};
}

// The first tile of the leading axes that a slice lies in.
std::uint64_t SlicePicture::tileOf(std::uint32_t slice) const
{
    std::uint64_t tile = 0;
    const Box& box = m_map->slices[slice].box;
    for (std::size_t axis = 0; axis + 2 < m_map->shape.size(); ++axis)
        tile = tile * m_map->shape[axis] + box.offset[axis];
    return tile;
}

void SlicePicture::highlight(std::optional<std::uint32_t> slice)
{
    m_highlighted = slice;
    if (slice && m_map && m_boxes.tiles > PictureLayout::kMostTiles && rectOf(*slice).isEmpty()) {
        m_tile = tileOf(*slice);
        rebuild();
    }
    update();
}

std::optional<std::uint32_t> SlicePicture::sliceAt(QPointF at) const
{
    const auto cell = m_map ? m_layout.cellAt(at) : std::nullopt;
    if (!cell)
        return std::nullopt;
    for (const PictureBox& box : m_boxes.boxes)
        if (box.tile == cell->tile && cell->row >= box.row && cell->row - box.row < box.rows && cell->column >= box.column && cell->column - box.column < box.columns)
            return sliceOf(box);
    return std::nullopt;
}

QRectF SlicePicture::rectOf(std::uint32_t slice) const
{
    for (const PictureBox& box : m_boxes.boxes)
        if (sliceOf(box) == slice && m_layout.shows(box.tile))
            return m_layout.rectOf(box);
    return {};
}

void SlicePicture::paintSlice(QPainter& painter, const PictureBox& box) const
{
    const Theme& theme = Theme::current();
    const std::uint32_t slice = sliceOf(box);
    const QRectF rect = m_layout.rectOf(box);
    if (!m_map->slices[slice].isHeld) {
        painter.fillRect(rect, theme.colour(Token::ErrorWeak));
        paintHatch(painter, rect, theme.colour(Token::Hole), theme.px(6));
    } else {
        const QColor ground = m_highlighted && *m_highlighted != slice ? fadedSlice(slice) : sliceColour(slice);
        painter.fillRect(rect, ground);
        paintSliceMark(painter, rect, slice, Theme::inkOn(ground));
    }
    painter.setBrush(Qt::NoBrush);
    if (std::min(rect.width(), rect.height()) >= kLeastEdge) {
        painter.setPen(theme.colour(m_map->slices[slice].isHeld ? Token::Surface : Token::Hole));
        painter.drawRect(rect.adjusted(0.5, 0.5, -0.5, -0.5));
    }
}

void SlicePicture::paintLabel(QPainter& painter, const PictureBox& box) const
{
    const Theme& theme = Theme::current();
    const std::uint32_t slice = sliceOf(box);
    const DeviceMap::Slice& held = m_map->slices[slice];
    const QRectF rect = m_layout.rectOf(box);
    const QFontMetrics metrics = painter.fontMetrics();
    if (rect.width() < theme.px(kLeastLabel) || metrics.height() > rect.height() + 2)
        return; // most, where there are thousands
    const QString range = QString::fromStdString(regionText(BoxView(held.box)));
    const QString ranks = held.ranks.size() == 1 ? tr("rank %1").arg(held.ranks.front()) : tr("ranks %1").arg(ranksText(held.ranks));
    const bool isFaded = m_highlighted && *m_highlighted != slice;
    painter.setPen(held.isHeld ? Theme::inkOn(isFaded ? fadedSlice(slice) : sliceColour(slice)) : theme.colour(Token::Error));
    const QString first = QString::number(held.ranks.front());
    const QString few = held.ranks.size() == 1 ? first : tr("%1 …", "the first of several ranks").arg(first);
    const auto fits = [&](const QString& line) { return metrics.horizontalAdvance(line) <= rect.width() - theme.px(4); };
    if (!fits(few))
        return;
    QStringList lines{fits(ranks) ? ranks : few};
    if (fits(range) && 2 * metrics.height() <= rect.height() - 2)
        lines << range;
    const QString text = lines.join(QLatin1Char('\n'));
    if (!held.isHeld) // the hatch does not run through the words
        painter.fillRect(painter.boundingRect(rect, Qt::AlignCenter, text).adjusted(-3, 0, 3, 0), theme.colour(Token::ErrorWeak));
    painter.drawText(rect, Qt::AlignCenter, text);
}

void SlicePicture::paintEvent(QPaintEvent*)
{
    if (!m_map)
        return;
    const Theme& theme = Theme::current();
    QPainter painter(this);
    for (std::uint64_t tile = m_layout.firstTile(); tile < m_layout.firstTile() + m_layout.tiles(); ++tile)
        painter.fillRect(m_layout.tileRect(tile), theme.colour(Token::Track));
    for (const PictureBox& box : m_boxes.boxes)
        if (m_layout.shows(box.tile))
            paintSlice(painter, box);
    painter.setFont(theme.font(TextStyle::Caption));
    for (const PictureBox& box : m_boxes.boxes)
        if (m_layout.shows(box.tile))
            paintLabel(painter, box);
    const bool hasMark = m_highlighted || hasFocus();
    const std::uint32_t mark = m_highlighted.value_or(m_focused);
    for (const PictureBox& box : m_boxes.boxes)
        if (hasMark && sliceOf(box) == mark && m_layout.shows(box.tile)) {
            painter.setPen(QPen(theme.colour(Token::Selection), 2));
            painter.drawRect(m_layout.rectOf(box).adjusted(1, 1, -1, -1));
        }
    const QRectF last = m_layout.tileRect(m_layout.firstTile() + m_layout.tiles() - 1);
    painter.setFont(theme.font(TextStyle::Caption));
    painter.setPen(theme.colour(Token::Text2));
    const QString note = m_layout.note().isEmpty() ? caption() : tr("%1; %2", "caption, scale").arg(caption(), m_layout.note());
    const QRectF line(theme.px(kEdge), last.bottom() + theme.px(2), width() - 2 * theme.px(kEdge), theme.px(kCaption));
    painter.drawText(line, Qt::AlignLeft | Qt::AlignVCenter, painter.fontMetrics().elidedText(note, Qt::ElideRight, static_cast<int>(line.width())));
    if (hasFocus()) {
        painter.setPen(theme.colour(Token::Accent));
        painter.drawRect(QRectF(rect()).adjusted(0.5, 0.5, -0.5, -0.5));
    }
}

void SlicePicture::mouseMoveEvent(QMouseEvent* event)
{
    const auto slice = sliceAt(event->position());
    if (slice == m_hovered)
        return;
    m_hovered = slice;
    setToolTip(slice ? m_map->sliceText(*slice).toHtmlEscaped() : QString());
    if (slice)
        emit pointed(*slice);
    else
        emit pointedNowhere();
}

void SlicePicture::leaveEvent(QEvent*)
{
    m_hovered.reset();
    emit pointedNowhere();
}

void SlicePicture::mousePressEvent(QMouseEvent* event)
{
    const auto slice = sliceAt(event->position());
    if (!slice || event->button() != Qt::LeftButton)
        return;
    setFocused(*slice);
    emit chosen(*slice);
}

void SlicePicture::setFocused(std::uint32_t slice)
{
    m_focused = slice;
    describe();
    update();
    emit pointed(slice);
}

void SlicePicture::keyPressEvent(QKeyEvent* event)
{
    const auto count = m_map ? static_cast<std::uint32_t>(m_map->slices.size()) : 0u;
    if (count == 0)
        return QWidget::keyPressEvent(event);
    switch (event->key()) {
    case Qt::Key_Right:
    case Qt::Key_Down: setFocused(std::min(m_focused + 1, count - 1)); return;
    case Qt::Key_Left:
    case Qt::Key_Up: setFocused(m_focused == 0 ? 0 : m_focused - 1); return;
    case Qt::Key_Home: setFocused(0); return;
    case Qt::Key_End: setFocused(count - 1); return;
    case Qt::Key_Return:
    case Qt::Key_Enter:
    case Qt::Key_Space: emit chosen(m_focused); return;
    default: QWidget::keyPressEvent(event);
    }
}

void SlicePicture::focusInEvent(QFocusEvent* event)
{
    update();
    if (m_map && m_focused < m_map->slices.size() && (event->reason() == Qt::TabFocusReason || event->reason() == Qt::BacktabFocusReason))
        emit pointed(m_focused);
    QWidget::focusInEvent(event);
}

void SlicePicture::focusOutEvent(QFocusEvent* event)
{
    update();
    emit pointedNowhere();
    QWidget::focusOutEvent(event);
}

} // namespace shardlens::ui
