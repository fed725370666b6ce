#include "ui/widgets/rank_grid_view.h"

#include "ui/models/atlas_text.h"
#include "ui/theme/theme.h"

#include <QPainter>
#include <QPaintEvent>

#include <algorithm>
#include <array>
#include <cmath>

namespace shardlens::ui {
namespace {

// Design pixels.
constexpr std::array kCells{QSize{120, 56}, QSize{84, 44}, QSize{52, 28}, QSize{36, 24}, QSize{24, 20}, QSize{16, 16}};
constexpr int kRoom = 372;      // height that all ranks should show in
constexpr int kWidest = 176;    // of a cell
constexpr int kGap = 4;
constexpr int kBlockGap = 20;
constexpr int kRingRoom = 4;    // around everything, for the outlines
constexpr int kNamesHigh = 20;
constexpr int kNamesFrom = 28;  // width of a cell from which columns are named
constexpr int kTextsFrom = 40;  // height from which a cell says its bytes
constexpr int kBarFrom = 52;    // height from which it has a bar
constexpr double kAlike = 0.01; // of the most: ranks that differ less have one colour
constexpr int kFirstStep = 2;
constexpr int kLastStep = 6;

} // namespace

QString stateName(RankUse::State state)
{
    switch (state) {
    case RankUse::State::Complete: return RankGridView::tr("complete");
    case RankUse::State::Differs: return RankGridView::tr("has a finding");
    case RankUse::State::Missing: return RankGridView::tr("file missing");
    }
    return {};
}

RankInk rankInk(const RankUses& uses, std::uint32_t rank, RankColour colour)
{
    const Theme& theme = Theme::current();
    const RankUse& use = uses.ranks[rank];
    const bool isAbsent = use.state == RankUse::State::Missing;
    if (colour == RankColour::State)
        switch (use.state) {
        case RankUse::State::Complete: return {theme.colour(Token::OkWeak), theme.colour(Token::Ok), false};
        case RankUse::State::Differs: return {theme.colour(Token::WarnWeak), theme.colour(Token::Warn), false};
        case RankUse::State::Missing: return {theme.colour(Token::ErrorWeak), theme.colour(Token::Error), true};
        }
    if (use.total == 0)
        return {theme.colour(Token::Track), theme.colour(Token::Text2), isAbsent};
    const auto most = static_cast<double>(uses.most);
    const double range = most - static_cast<double>(uses.least);
    int step = (kFirstStep + kLastStep) / 2;
    if (range > kAlike * most)
        step = kFirstStep + static_cast<int>(std::lround((kLastStep - kFirstStep) * (static_cast<double>(use.total - uses.least) / range)));
    const QColor ground = theme.sequential(step);
    return {ground, Theme::inkOn(ground), isAbsent};
}

RankGridView::RankGridView(QWidget* parent) : RankCells(parent)
{
    QSizePolicy policy(QSizePolicy::Expanding, QSizePolicy::Fixed);
    policy.setHeightForWidth(true);
    setSizePolicy(policy);
    setAccessibleName(tr("Grid of ranks"));
    connect(&Theme::current(), &Theme::changed, this, &RankGridView::place);
}

void RankGridView::place()
{
    m_measures = measure(width());
    updateGeometry();
    update();
}

void RankGridView::resizeEvent(QResizeEvent*)
{
    m_measures = measure(width());
}

void RankGridView::show(RankUsesPtr uses)
{
    m_uses = std::move(uses);
    m_grid = m_uses ? RankGrid(m_uses->topology) : RankGrid();
    cellsChanged();
    place();
}

void RankGridView::setColour(RankColour colour)
{
    m_colour = colour;
    update();
}

void RankGridView::describe()
{
    if (!m_uses || m_uses->ranks.empty())
        return;
    const RankUse& use = m_uses->ranks[focused()];
    QStringList parts{tr("rank %1").arg(focused()), m_uses->placeOf(focused()), bytesText(use.total), stateName(use.state)};
    if (isKept(focused()))
        parts << tr("only this rank is shown on other pages");
    parts.removeAll(QString());
    setAccessibleDescription(parts.join(QStringLiteral(", ")));
}

RankGridView::Measures RankGridView::measureAs(QSize cell, int width) const
{
    const Theme& theme = Theme::current();
    const QFontMetrics metrics(theme.font(TextStyle::Caption));
    const double gap = theme.px(kGap);
    Measures out;
    out.cell = QSizeF(theme.px(cell.width()), theme.px(cell.height()));
    if (m_grid.hasRowNames())
        out.rowNames = metrics.horizontalAdvance(m_grid.rowName(m_grid.rows() - 1)) + theme.px(12);
    out.columnNames = m_grid.hasColumnNames() && cell.width() >= kNamesFrom ? theme.px(kNamesHigh) : 0;
    out.caption = m_grid.blockName(0).isEmpty() ? 0 : theme.px(kNamesHigh);
    const double columns = m_grid.columns();
    const double between = m_grid.hasRowNames() || m_grid.hasColumnNames() ? theme.px(kBlockGap) : gap;
    const double room = width - 2.0 * theme.px(kRingRoom);
    const double needed = out.rowNames + columns * (out.cell.width() + gap) - gap;
    out.perLine = std::clamp(static_cast<std::uint32_t>(std::max(1.0, std::floor((room + between) / (needed + between)))), 1u, m_grid.blocks());
    const std::uint32_t lines = (m_grid.blocks() + out.perLine - 1) / out.perLine;
    out.perLine = (m_grid.blocks() + lines - 1) / lines; // lines of one length
    const double share = (room + between) / out.perLine - between - out.rowNames; // of one block's cells
    const double wide = std::floor((share + gap) / columns - gap);
    out.cell.setWidth(std::max(out.cell.width(), std::min<double>(wide, theme.px(cell.width() * kWidest / kCells.front().width()))));
    out.block = QSizeF(out.rowNames + columns * (out.cell.width() + gap) - gap + between,
                       out.caption + out.columnNames + m_grid.rows() * (out.cell.height() + gap) - gap + between);
    out.height = std::ceil(lines * out.block.height() - between + 2.0 * theme.px(kRingRoom));
    return out;
}

RankGridView::Measures RankGridView::measure(int width) const
{
    Measures out;
    for (const QSize& cell : kCells) {
        out = measureAs(cell, width);
        const bool fitsAcross = out.block.width() - Theme::current().px(kBlockGap) <= width;
        if (fitsAcross && out.height <= Theme::current().px(kRoom))
            break;
    }
    return out;
}

QSize RankGridView::sizeHint() const
{
    const int width = Theme::current().px(640);
    return {width, heightForWidth(width)};
}

QSize RankGridView::minimumSizeHint() const
{
    return {Theme::current().px(240), Theme::current().px(kCells.back().height())};
}

int RankGridView::heightForWidth(int width) const
{
    return static_cast<int>(measure(width).height);
}

QPointF RankGridView::blockAt(std::uint32_t block) const
{
    const double ring = Theme::current().px(kRingRoom);
    return {ring + block % m_measures.perLine * m_measures.block.width(), ring + static_cast<double>(block / m_measures.perLine) * m_measures.block.height()};
}

QRectF RankGridView::cellOf(std::uint32_t rank) const
{
    const RankGrid::Place place = m_grid.placeOf(rank);
    const double gap = Theme::current().px(kGap);
    const QPointF corner = blockAt(place.block) + QPointF(m_measures.rowNames, m_measures.caption + m_measures.columnNames);
    return QRectF(corner + QPointF(place.column * (m_measures.cell.width() + gap), place.row * (m_measures.cell.height() + gap)), m_measures.cell);
}

std::optional<std::uint32_t> RankGridView::rankAt(QPointF at) const
{
    if (!m_uses || m_uses->ranks.empty())
        return std::nullopt;
    const double ring = Theme::current().px(kRingRoom);
    const double gap = Theme::current().px(kGap);
    const auto across = std::floor((at.x() - ring) / m_measures.block.width());
    const auto down = std::floor((at.y() - ring) / m_measures.block.height());
    if (across < 0 || down < 0 || across >= m_measures.perLine)
        return std::nullopt;
    const double block = down * m_measures.perLine + across;
    if (block >= m_grid.blocks())
        return std::nullopt;
    const QPointF inside = at - blockAt(static_cast<std::uint32_t>(block)) - QPointF(m_measures.rowNames, m_measures.caption + m_measures.columnNames);
    const double column = std::floor(inside.x() / (m_measures.cell.width() + gap));
    const double row = std::floor(inside.y() / (m_measures.cell.height() + gap));
    if (inside.x() < 0 || inside.y() < 0 || column >= m_grid.columns() || row >= m_grid.rows())
        return std::nullopt;
    return m_grid.rankAt({static_cast<std::uint32_t>(block), static_cast<std::uint32_t>(row), static_cast<std::uint32_t>(column)});
}

void RankGridView::paintEvent(QPaintEvent* event)
{
    if (!m_uses || m_uses->ranks.empty())
        return;
    QPainter painter(this);
    painter.setRenderHint(QPainter::Antialiasing);
    for (std::uint32_t block = 0; block < m_grid.blocks(); ++block)
        if (QRectF(blockAt(block), m_measures.block).intersects(event->rect()))
            paintNames(painter, block);
    for (std::uint32_t rank = 0; rank < m_uses->ranks.size(); ++rank)
        if (cellOf(rank).intersects(event->rect()))
            paintCell(painter, rank);
    paintRings(painter, Theme::current().px(4));
}

void RankGridView::paintNames(QPainter& painter, std::uint32_t block) const
{
    const Theme& theme = Theme::current();
    const double gap = theme.px(kGap);
    const QPointF corner = blockAt(block);
    painter.setPen(theme.colour(Token::Text));
    painter.setFont(theme.font(TextStyle::Strong));
    if (m_measures.caption > 0)
        painter.drawText(QRectF(corner.x() + m_measures.rowNames, corner.y(), m_measures.block.width() - m_measures.rowNames, m_measures.caption),
                         Qt::AlignLeft | Qt::AlignVCenter, m_grid.blockName(block));
    painter.setFont(theme.font(TextStyle::Caption));
    painter.setPen(theme.colour(Token::Text2));
    const double top = corner.y() + m_measures.caption;
    const double left = corner.x() + m_measures.rowNames;
    if (m_measures.columnNames > 0)
        for (std::uint32_t column = 0; column < m_grid.columns(); ++column)
            painter.drawText(QRectF(left + column * (m_measures.cell.width() + gap), top, m_measures.cell.width(), m_measures.columnNames), Qt::AlignCenter,
                             painter.fontMetrics().horizontalAdvance(m_grid.columnName(column)) <= m_measures.cell.width() ? m_grid.columnName(column)
                                                                                                                          : QString::number(column));
    if (m_measures.rowNames > 0)
        for (std::uint32_t row = 0; row < m_grid.rows(); ++row)
            painter.drawText(QRectF(corner.x(), top + m_measures.columnNames + row * (m_measures.cell.height() + gap), m_measures.rowNames - theme.px(8),
                                    m_measures.cell.height()),
                             Qt::AlignRight | Qt::AlignVCenter, m_grid.rowName(row));
}

void RankGridView::paintCell(QPainter& painter, std::uint32_t rank) const
{
    const Theme& theme = Theme::current();
    const QRectF cell = cellOf(rank);
    const RankInk ink = rankInk(*m_uses, rank, m_colour);
    const double radius = cell.height() >= theme.px(24) ? theme.px(3) : theme.px(2);
    painter.setPen(Qt::NoPen);
    if (ink.isAbsent)
        painter.setPen(QPen(theme.colour(Token::Hole), 1.5, Qt::DashLine));
    else if (m_colour == RankColour::State)
        painter.setPen(QPen(ink.ink, 1));
    painter.setBrush(ink.ground);
    painter.drawRoundedRect(cell.adjusted(0.5, 0.5, -0.5, -0.5), radius, radius);
    if (isHovered(rank)) {
        QColor light = ink.ink;
        light.setAlphaF(0.12F);
        painter.setPen(Qt::NoPen);
        painter.setBrush(light);
        painter.drawRoundedRect(cell, radius, radius);
    }
    if (m_uses->ranks[rank].state == RankUse::State::Differs && m_colour == RankColour::Bytes) { // a corner that colour alone does not carry
        const double side = std::min<double>(theme.px(10), cell.height() / 2);
        painter.setPen(Qt::NoPen);
        painter.setBrush(theme.colour(Token::Warn));
        painter.drawPolygon(QPolygonF{cell.topRight(), cell.topRight() - QPointF(side, 0), cell.topRight() + QPointF(0, side)});
    }
    paintTexts(painter, rank, cell, ink);
}

void RankGridView::paintTexts(QPainter& painter, std::uint32_t rank, const QRectF& cell, const RankInk& ink) const
{
    const Theme& theme = Theme::current();
    const RankUse& use = m_uses->ranks[rank];
    const auto draw = [&](const QRectF& room, TextStyle style, int align, const QStringList& candidates) {
        painter.setFont(theme.font(style));
        painter.setPen(ink.ink);
        for (const QString& text : candidates)
            if (painter.fontMetrics().horizontalAdvance(text) <= room.width() && painter.fontMetrics().height() <= room.height() + 2) {
                painter.drawText(room, align | Qt::TextSingleLine, text);
                return;
            }
    };
    if (cell.height() < theme.px(kTextsFrom)) {
        draw(cell.adjusted(1, 0, -1, 0), TextStyle::Caption, Qt::AlignCenter, {QString::number(rank)});
        return;
    }
    const bool hasBar = cell.height() >= theme.px(kBarFrom) && m_uses->most > 0;
    const QRectF room = cell.adjusted(theme.px(9), theme.px(5), -theme.px(9), hasBar ? -theme.px(11) : -theme.px(5));
    const QRectF upper(room.left(), room.top(), room.width(), room.height() / 2);
    draw(upper, TextStyle::Strong, Qt::AlignLeft | Qt::AlignVCenter, {tr("rank %1").arg(rank), QString::number(rank)});
    const QString bytes = use.total == 0 && use.state == RankUse::State::Missing ? tr("no file") : bytesText(use.total);
    const QString state = m_colour == RankColour::State ? stateName(use.state) : bytes;
    draw(upper.translated(0, upper.height()), TextStyle::Caption, Qt::AlignLeft | Qt::AlignVCenter, {state, bytes});
    if (!hasBar)
        return;
    const QRectF bar(room.left(), cell.bottom() - theme.px(9), room.width(), theme.px(3));
    QColor track = ink.ink;
    track.setAlphaF(0.22F);
    painter.fillRect(bar, track);
    painter.fillRect(QRectF(bar.topLeft(), QSizeF(bar.width() * static_cast<double>(use.total) / static_cast<double>(m_uses->most), bar.height())), ink.ink);
}

} // namespace shardlens::ui
