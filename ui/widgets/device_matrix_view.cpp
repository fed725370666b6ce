#include "ui/widgets/device_matrix_view.h"

#include "ui/theme/theme.h"
#include "ui/widgets/atlas_painter.h"
#include "ui/widgets/atlas_raster.h"

#include <QHelpEvent>
#include <QPainter>
#include <QPaintEvent>
#include <QToolTip>

#include <algorithm>
#include <array>
#include <cmath>

namespace shardlens::ui {
namespace {

// Design pixels.
constexpr std::array kCells{QSize{104, 60}, QSize{88, 52}, QSize{72, 44}, QSize{52, 32}, QSize{36, 24}, QSize{24, 20}, QSize{16, 16}, QSize{10, 10}, QSize{7, 7}, QSize{5, 5}, QSize{3, 3}, QSize{2, 2}};
constexpr int kBlockGap = 20;
constexpr int kRingRoom = 4;    // around everything, for the outlines
constexpr int kCaptionHigh = 20;
constexpr int kLabelsFrom = 14; // height of a cell from which it has its number
constexpr int kRoundFrom = 10;
constexpr int kMarksFrom = 12;
constexpr std::uint32_t kColours = 12; // of the theme
constexpr double kFaded = 0.22;

} // namespace

QColor sliceColour(std::uint32_t slice)
{
    return Theme::current().categorical(static_cast<int>(slice % kColours));
}

void paintSliceMark(QPainter& painter, const QRectF& rect, std::uint32_t slice, const QColor& ink)
{
    const Theme& theme = Theme::current();
    const std::uint32_t round = slice / kColours;
    if (round == 0 || std::min(rect.width(), rect.height()) < theme.px(kMarksFrom))
        return;
    const double size = theme.px(5);
    const QRectF corner(rect.right() - size - theme.px(3), rect.top() + theme.px(3), size, size);
    painter.save();
    painter.setRenderHint(QPainter::Antialiasing);
    painter.setPen(round == 3 ? QPen(ink, 1.5) : QPen(Qt::NoPen));
    painter.setBrush(ink);
    if (round == 1)
        painter.drawEllipse(corner);
    else if (round == 2)
        painter.drawRect(QRectF(rect.left() + 1, rect.top() + 1, theme.px(3), rect.height() - 2));
    else if (round == 3)
        painter.drawLines({QLineF(corner.topLeft(), corner.bottomRight()), QLineF(corner.topRight(), corner.bottomLeft())});
    painter.restore();
}

QColor fadedSlice(std::uint32_t slice)
{
    return mixed(sliceColour(slice), Theme::current().colour(Token::Surface), kFaded);
}

DeviceMatrixView::DeviceMatrixView(QWidget* parent) : RankCells(parent)
{
    setSizePolicy(QSizePolicy::Expanding, QSizePolicy::Expanding);
    setAccessibleName(tr("Device matrix: which rank holds which slice"));
    connect(&Theme::current(), &Theme::changed, this, &DeviceMatrixView::place);
}

void DeviceMatrixView::place()
{
    m_measures = measure();
    update();
}

void DeviceMatrixView::resizeEvent(QResizeEvent*)
{
    m_measures = measure();
}

void DeviceMatrixView::show(DeviceMapPtr map)
{
    m_map = std::move(map);
    m_highlighted.reset();
    cellsChanged();
    place();
}

void DeviceMatrixView::highlight(std::optional<std::uint32_t> slice)
{
    m_highlighted = slice;
    update();
}

void DeviceMatrixView::describe()
{
    if (!hasDevices())
        return setAccessibleDescription({});
    QStringList parts{m_map->sentenceOf(focused()), m_map->grid.coordinates(focused()), m_map->placeOf(focused())};
    if (isKept(focused()))
        parts << tr("only this rank is shown on other pages");
    parts.removeAll(QString());
    setAccessibleDescription(parts.join(QStringLiteral("; ")));
}

DeviceMatrixView::Measures DeviceMatrixView::measureAs(QSize cell, int width) const
{
    const Theme& theme = Theme::current();
    const DeviceGrid& grid = m_map->grid;
    Measures out;
    out.cell = QSizeF(theme.px(cell.width()), theme.px(cell.height()));
    out.gap = cell.height() >= 16 ? theme.px(4) : cell.height() >= 7 ? 2 : cell.height() > 3 ? 1 : 0;
    out.caption = grid.blocks() > 1 ? theme.px(kCaptionHigh) : 0;
    const double between = theme.px(kBlockGap);
    const double inside = grid.columns() * (out.cell.width() + out.gap) - out.gap;
    const QFontMetrics caption(theme.font(TextStyle::Caption));
    const double named = grid.blocks() > 1 ? std::max<double>(inside, caption.horizontalAdvance(grid.blockName(grid.blocks() - 1))) : inside;
    const double room = width - 2.0 * theme.px(kRingRoom);
    out.perLine = std::clamp(static_cast<std::uint32_t>(std::max(1.0, std::floor((room + between) / (named + between)))), 1u, std::max(1u, grid.blocks()));
    out.block = QSizeF(named + between, out.caption + grid.rows() * (out.cell.height() + out.gap) - out.gap + between);
    const std::uint32_t lines = (grid.blocks() + out.perLine - 1) / out.perLine;
    out.height = std::ceil(lines * out.block.height() - between + 2.0 * theme.px(kRingRoom));
    return out;
}

DeviceMatrixView::Measures DeviceMatrixView::measure() const
{
    Measures out;
    if (!hasDevices())
        return out;
    for (const QSize& cell : kCells) {
        out = measureAs(cell, width());
        const bool fitsAcross = out.block.width() - Theme::current().px(kBlockGap) <= width() - 2 * Theme::current().px(kRingRoom);
        if (fitsAcross && out.height <= height())
            break;
    }
    return out;
}

QSize DeviceMatrixView::sizeHint() const
{
    return {Theme::current().px(360), Theme::current().px(200)};
}

QSize DeviceMatrixView::minimumSizeHint() const
{
    return {Theme::current().px(200), Theme::current().px(140)};
}

QPointF DeviceMatrixView::blockAt(std::uint32_t block) const
{
    const double ring = Theme::current().px(kRingRoom);
    return {ring + block % m_measures.perLine * m_measures.block.width(), ring + static_cast<double>(block / m_measures.perLine) * m_measures.block.height()};
}

QRectF DeviceMatrixView::cellOf(std::uint32_t rank) const
{
    const DeviceGrid::Place place = m_map->grid.placeOf(rank);
    const QPointF corner = blockAt(place.block) + QPointF(0, m_measures.caption);
    return QRectF(corner + QPointF(place.column * (m_measures.cell.width() + m_measures.gap), place.row * (m_measures.cell.height() + m_measures.gap)), m_measures.cell);
}

std::optional<std::uint32_t> DeviceMatrixView::rankAt(QPointF at) const
{
    if (!hasDevices())
        return std::nullopt;
    const double ring = Theme::current().px(kRingRoom);
    const double across = std::floor((at.x() - ring) / m_measures.block.width());
    const double down = std::floor((at.y() - ring) / m_measures.block.height());
    if (across < 0 || down < 0 || across >= m_measures.perLine || down * m_measures.perLine + across >= m_map->grid.blocks())
        return std::nullopt;
    const auto block = static_cast<std::uint32_t>(down * m_measures.perLine + across);
    const QPointF inside = at - blockAt(block) - QPointF(0, m_measures.caption);
    const double column = std::floor(inside.x() / (m_measures.cell.width() + m_measures.gap));
    const double row = std::floor(inside.y() / (m_measures.cell.height() + m_measures.gap));
    if (column < 0 || row < 0 || column >= m_map->grid.columns() || row >= m_map->grid.rows())
        return std::nullopt;
    return m_map->grid.rankAt({block, static_cast<std::uint32_t>(row), static_cast<std::uint32_t>(column)});
}

QString DeviceMatrixView::tipAt(QPointF at) const
{
    const auto rank = rankAt(at);
    return rank ? m_map->sentenceOf(*rank) : QString();
}

bool DeviceMatrixView::event(QEvent* event)
{
    if (event->type() != QEvent::ToolTip)
        return QWidget::event(event);
    const auto* help = static_cast<QHelpEvent*>(event);
    const QString tip = tipAt(help->pos());
    if (tip.isEmpty())
        QToolTip::hideText();
    else
        QToolTip::showText(help->globalPos(), tip.toHtmlEscaped(), this, cellOf(*rankAt(help->pos())).toAlignedRect());
    return true;
}

void DeviceMatrixView::paintEvent(QPaintEvent* event)
{
    if (!hasDevices())
        return;
    const Theme& theme = Theme::current();
    QPainter painter(this);
    painter.setRenderHint(QPainter::Antialiasing);
    painter.setFont(theme.font(TextStyle::Caption));
    painter.setPen(theme.colour(Token::Text2));
    for (std::uint32_t block = 0; m_measures.caption > 0 && block < m_map->grid.blocks(); ++block)
        painter.drawText(QRectF(blockAt(block), QSizeF(m_measures.block.width(), m_measures.caption)), Qt::AlignLeft | Qt::AlignVCenter, m_map->grid.blockName(block));
    for (std::uint32_t rank = 0; rank < m_map->devices.size(); ++rank)
        if (cellOf(rank).intersects(event->rect()))
            paintCell(painter, rank);
    paintRings(painter, theme.px(3));
}

void DeviceMatrixView::paintCell(QPainter& painter, std::uint32_t rank) const
{
    const Theme& theme = Theme::current();
    const DeviceMap::Device& device = m_map->devices[rank];
    const QRectF cell = cellOf(rank);
    const bool isHole = device.isMissing || (device.slice && !m_map->slices[*device.slice].isHeld);
    const bool isFaded = m_highlighted && device.slice != m_highlighted;
    const bool isElsewhere = m_map->isStoredElsewhere(rank);
    QColor ground = !device.slice ? theme.colour(Token::Track) : isFaded || isElsewhere ? fadedSlice(*device.slice) : sliceColour(*device.slice);
    if (isHole)
        ground = theme.colour(Token::ErrorWeak);
    const double radius = cell.height() >= theme.px(kRoundFrom) ? theme.px(2) : 0;
    painter.setPen(Qt::NoPen);
    painter.setBrush(ground);
    painter.drawRoundedRect(cell, radius, radius);
    if (isElsewhere && !isFaded) {
        painter.setPen(QPen(sliceColour(*device.slice), 2));
        painter.setBrush(Qt::NoBrush);
        painter.drawRoundedRect(cell.adjusted(1, 1, -1, -1), radius, radius);
    }
    if (isHole) {
        if (cell.height() >= theme.px(kRoundFrom))
            paintHatch(painter, cell, theme.colour(Token::Hole), theme.px(6));
        painter.setPen(QPen(theme.colour(Token::Hole), cell.height() >= theme.px(kRoundFrom) ? 1.5 : 1, Qt::DashLine));
        painter.setBrush(Qt::NoBrush);
        painter.drawRoundedRect(cell.adjusted(0.5, 0.5, -0.5, -0.5), radius, radius);
    } else if (isHovered(rank)) {
        painter.setPen(QPen(theme.colour(Token::Text), 1.5));
        painter.setBrush(Qt::NoBrush);
        painter.drawRoundedRect(cell.adjusted(0.5, 0.5, -0.5, -0.5), radius, radius);
    }
    if (device.slice && !isHole)
        paintSliceMark(painter, cell, *device.slice, Theme::inkOn(ground));
    if (cell.height() < theme.px(kLabelsFrom))
        return;
    const QString number = QString::number(rank);
    painter.setFont(theme.font(cell.height() >= theme.px(24) ? TextStyle::Strong : TextStyle::Tiny));
    if (painter.fontMetrics().horizontalAdvance(number) > cell.width() - 2)
        return;
    if (isHole) { // the hatch does not run through the number
        const QSizeF room(painter.fontMetrics().horizontalAdvance(number) + theme.px(6), painter.fontMetrics().height());
        painter.fillRect(QRectF(cell.center() - QPointF(room.width() / 2, room.height() / 2), room), ground);
    }
    painter.setPen(isHole ? theme.colour(Token::Error) : !device.slice ? theme.colour(Token::Text2) : Theme::inkOn(ground));
    painter.drawText(cell, Qt::AlignCenter | Qt::TextSingleLine, number);
}

void DeviceMatrixView::focusInEvent(QFocusEvent* event)
{
    update();
    if (hasDevices() && (event->reason() == Qt::TabFocusReason || event->reason() == Qt::BacktabFocusReason))
        emit pointed(focused());
    QWidget::focusInEvent(event);
}

void DeviceMatrixView::focusOutEvent(QFocusEvent* event)
{
    update();
    emit pointedNowhere();
    QWidget::focusOutEvent(event);
}

} // namespace shardlens::ui
