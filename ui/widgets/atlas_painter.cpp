#include "ui/widgets/atlas_painter.h"

#include "core/base/text.h"
#include "ui/models/atlas_text.h"

#include <algorithm>
#include <cmath>

namespace shardlens::ui {
namespace {

constexpr double kMarkWidth = 3;        // design.md §1.5
constexpr double kMarksThin = 16;       // pixels a mark must have to itself to be widened
constexpr double kRulerGap = 72;
constexpr double kLeastLabel = 14;      // pixels of a piece below which no label can fit
constexpr double kLeastRun = 1.5;       // pixels of a module below which neighbours are painted together
constexpr double kHoleSignFrom = 12;    // pixels of a hole from which it carries "!"

// Only what fits whole is written.
bool drawFitting(QPainter& painter, const QRectF& room, const QString& text, int flags)
{
    if (text.isEmpty() || painter.fontMetrics().horizontalAdvance(text) > room.width())
        return false;
    painter.drawText(room, flags | Qt::TextSingleLine, text);
    return true;
}

bool isOddity(AtlasMark::Kind kind)
{
    return kind == AtlasMark::Kind::Hole || kind == AtlasMark::Kind::PastEnd || kind == AtlasMark::Kind::Overlap || kind == AtlasMark::Kind::Padding;
}

QString rangeOfRanks(std::vector<std::uint32_t> ranks)
{
    std::sort(ranks.begin(), ranks.end());
    QStringList parts;
    for (std::size_t i = 0; i < ranks.size();) {
        std::size_t last = i;
        while (last + 1 < ranks.size() && ranks[last + 1] == ranks[last] + 1)
            ++last;
        parts << (last == i ? QString::number(ranks[i]) : Atlas::tr("%1 to %2").arg(ranks[i]).arg(ranks[last]));
        i = last + 1;
    }
    return parts.join(Atlas::tr(", "));
}

} // namespace

void paintHatch(QPainter& painter, const QRectF& rect, const QColor& colour, double gap)
{
    painter.save();
    painter.setClipRect(rect, Qt::IntersectClip);
    painter.setRenderHint(QPainter::Antialiasing);
    painter.setPen(QPen(colour, gap / 4));
    const double first = std::floor((rect.left() - rect.height()) / gap) * gap;
    for (double x = first; x < rect.right(); x += gap)
        painter.drawLine(QPointF(x, rect.bottom()), QPointF(x + rect.height(), rect.top()));
    painter.restore();
}

AtlasPainter::AtlasPainter(const AtlasScene& scene, double pixelRatio)
    : m_scene(scene), m_theme(Theme::current()), m_pixelRatio(pixelRatio), m_left(scene.layout.plotLeft()),
      m_right(scene.layout.plotLeft() + scene.layout.plotWidth())
{
}

QRectF AtlasPainter::spanRect(const AtlasScale& scale, const AtlasSpan& span, const QRectF& tier, double least) const
{
    const double from = m_left + scale.toPixel(static_cast<double>(span.begin));
    const double width = static_cast<double>(span.end - span.begin) / scale.unitsPerPixel;
    if (width >= least)
        return {from, tier.top(), width, tier.height()};
    return {from + (width - least) / 2, tier.top(), least, tier.height()};
}

QRectF AtlasPainter::clipped(const QRectF& rect) const
{
    const double left = std::max(rect.left(), m_left);
    return {left, rect.top(), std::min(rect.right(), m_right) - left, rect.height()};
}

QRectF AtlasPainter::rectOf(AtlasPlace place, double least) const
{
    const AtlasLane& lane = m_scene.model->lanes()[place.lane];
    return spanRect(m_scene.scale, {lane.starts[place.index], lane.endOf(place.index)}, m_scene.layout.pieceTier(place.lane), least);
}

void AtlasPainter::paintFrame(QPainter& painter) const
{
    painter.fillRect(QRectF(QPointF(0, 0), QSizeF(m_scene.layout.lanes().width(), m_scene.layout.hints().bottom() + m_scene.layout.legend().bottom())),
                     m_theme.colour(Token::Window));
    painter.save();
    painter.setClipRect(m_scene.layout.lanes());
    paintRows(painter);
    const auto [first, last] = m_scene.layout.visible();
    paintGroups(painter);
    for (std::size_t lane = first; lane < last; ++lane) {
        paintHeader(painter, lane);
        paintStates(painter, lane);
        paintModules(painter, lane);
    }
    paintPieces(painter);
    painter.setClipRect(m_scene.layout.lanes().intersected(QRectF(m_left - kMarkWidth, 0, m_right - m_left + 2 * kMarkWidth, 1e6)));
    for (std::size_t lane = first; lane < last; ++lane) {
        paintPieceLabels(painter, lane);
        paintMarks(painter, lane);
    }
    painter.restore();
    paintMinimap(painter);
    paintRuler(painter);
    paintLegend(painter);
}

void AtlasPainter::paintMinimap(QPainter& painter) const
{
    const QRectF& map = m_scene.layout.minimap();
    painter.setFont(m_theme.font(TextStyle::Caption));
    painter.setPen(m_theme.colour(Token::Text3));
    painter.drawText(QRectF(m_theme.px(16), map.top(), m_left - m_theme.px(20), map.height()), Qt::AlignVCenter, Atlas::tr("Whole"));
    painter.fillRect(map, m_theme.colour(Token::Track));
    const auto& lanes = m_scene.model->lanes();
    const AtlasScale whole = AtlasScale::fit(m_scene.model->length(), map.width(), m_scene.bytes());
    const double pitch = (map.height() - 4) / static_cast<double>(std::max<std::size_t>(lanes.size(), 1));
    const double height = std::max(1.0, std::min(4.5, pitch * 0.75));
    std::uint64_t longest = 0; // of the lanes that share a row of pixels
    for (std::size_t i = 0; i < lanes.size(); ++i) {
        const double y = map.top() + 2 + pitch * (static_cast<double>(i) + 0.5) - height / 2;
        longest = std::max(longest, lanes[i].length);
        if (i + 1 == lanes.size() || std::floor(y + pitch) > std::floor(y)) {
            painter.fillRect(QRectF(map.left(), y, whole.toPixel(static_cast<double>(longest)), height), m_theme.colour(Token::TierAlt));
            longest = 0;
        }
        for (const AtlasMark& mark : lanes[i].marks)
            if (mark.kind == AtlasMark::Kind::Hole || mark.kind == AtlasMark::Kind::PastEnd) {
                const double from = whole.toPixel(static_cast<double>(mark.begin));
                const double width = std::max(kMarkWidth, whole.toPixel(static_cast<double>(mark.end)) - from);
                painter.fillRect(QRectF(map.left() + from, y, width, height), m_theme.colour(Token::Hole));
            }
    }
    const double from = map.left() + whole.toPixel(m_scene.scale.firstUnit);
    const double to = map.left() + whole.toPixel(m_scene.scale.toUnit(map.width()));
    painter.setPen(QPen(m_theme.colour(Token::Accent), 1));
    painter.setBrush(Qt::NoBrush);
    painter.drawRect(QRectF(std::round(from) + 0.5, map.top() + 0.5, std::max(3.0, std::round(to - from) - 1), map.height() - 1));
}

void AtlasPainter::paintRuler(QPainter& painter) const
{
    const QRectF& ruler = m_scene.layout.ruler();
    const double base = std::round(ruler.top() + m_theme.px(16)) + 0.5;
    painter.setFont(m_theme.font(TextStyle::Caption));
    painter.setPen(m_theme.colour(Token::Text3));
    const QRectF words(m_theme.px(16), ruler.top() - m_theme.px(4), m_left - m_theme.px(20), m_theme.px(20));
    painter.drawText(words, Qt::AlignVCenter, m_scene.bytes() ? Atlas::tr("Offset") : Atlas::tr("Element"));
    const double width = m_right - m_left;
    double lastRight = -1e9;
    for (const RulerTick& tick : rulerTicks(m_scene.scale, width, m_theme.px(kRulerGap), m_scene.bytes())) {
        const double x = std::round(m_left + m_scene.scale.toPixel(tick.unit)) + 0.5;
        painter.setPen(m_theme.colour(Token::BorderStrong));
        painter.drawLine(QPointF(x, base - m_theme.px(tick.label.isEmpty() ? 4 : 8)), QPointF(x, base));
        if (tick.label.isEmpty())
            continue;
        const double needed = painter.fontMetrics().horizontalAdvance(tick.label);
        const double at = std::clamp(x - needed / 2, m_left, m_right - needed);
        if (at < lastRight + m_theme.px(8))
            continue;
        painter.setPen(m_theme.colour(Token::Text3));
        painter.drawText(QRectF(at, ruler.top() - m_theme.px(8), needed + 2, m_theme.px(15)), Qt::AlignVCenter | Qt::TextSingleLine, tick.label);
        lastRight = at + needed;
    }
    painter.setPen(m_theme.colour(Token::BorderStrong));
    painter.drawLine(QPointF(m_left, base), QPointF(m_right, base));
}

void AtlasPainter::paintRows(QPainter& painter) const
{
    const auto [first, last] = m_scene.layout.visible();
    for (std::size_t lane = first; lane < last; ++lane)
        if (lane % 2 == 0)
            painter.fillRect(m_scene.layout.row(lane), m_theme.colour(Token::Raised));
    painter.setPen(m_theme.colour(Token::Border));
    const double bottom = std::min(m_scene.layout.lanes().bottom(), m_scene.layout.lanes().top() + m_scene.layout.contentHeight());
    for (const RulerTick& tick : rulerTicks(m_scene.scale, m_right - m_left, m_theme.px(kRulerGap), m_scene.bytes())) {
        if (tick.label.isEmpty())
            continue;
        const double x = std::round(m_left + m_scene.scale.toPixel(tick.unit)) + 0.5;
        painter.drawLine(QPointF(x, m_scene.layout.lanes().top()), QPointF(x, bottom));
    }
}

// "pipeline stage 1", what it holds at the right.
void AtlasPainter::paintGroups(QPainter& painter) const
{
    const auto [first, last] = m_scene.layout.visibleGroups();
    for (std::size_t i = first; i < last; ++i) {
        const AtlasGroup& group = m_scene.model->groups()[i];
        const QRectF area = m_scene.layout.groupHeader(i);
        painter.fillRect(area, m_theme.colour(Token::Sunken));
        const double side = m_theme.px(12);
        const QIcon sign = m_theme.icon(group.isClosed ? QStringLiteral("right") : QStringLiteral("down"), Token::Text2);
        sign.paint(&painter, QRectF(m_theme.px(10), area.center().y() - side / 2, side, side).toRect());
        const QRectF words = area.adjusted(m_theme.px(28), 0, -m_theme.px(20), 0);
        painter.setFont(m_theme.font(TextStyle::Caption));
        painter.setPen(m_theme.colour(Token::Text2));
        const QString amount = Atlas::tr("%1, %2", "lanes, size")
                                   .arg(counted(group.allLanes, Atlas::tr("1 lane"), Atlas::tr("%1 lanes")), bytesText(group.bytes));
        painter.drawText(words, Qt::AlignVCenter | Qt::AlignRight | Qt::TextSingleLine, amount);
        const double room = words.width() - painter.fontMetrics().horizontalAdvance(amount) - m_theme.px(16);
        painter.setFont(m_theme.font(TextStyle::Strong));
        painter.setPen(m_theme.colour(Token::Text));
        painter.drawText(words, Qt::AlignVCenter | Qt::TextSingleLine,
                         painter.fontMetrics().elidedText(group.title, Qt::ElideMiddle, static_cast<int>(room)));
    }
}

void AtlasPainter::paintHeader(QPainter& painter, std::size_t index) const
{
    const AtlasLane& lane = m_scene.model->lanes()[index];
    const QRectF area = m_scene.layout.lane(index);
    const bool chosen = lane.rank && m_scene.selectedRank == lane.rank;
    const QColor bar = lane.missing ? m_theme.colour(Token::Hole) : lane.rank ? m_theme.categorical(static_cast<int>(*lane.rank)) : m_theme.colour(Token::BorderStrong);
    painter.fillRect(QRectF(m_theme.px(chosen ? 12 : 16), area.top(), m_theme.px(chosen ? 8 : 4), area.height()), bar);
    const double left = m_theme.px(28);
    const double room = m_left - left - m_theme.px(6);
    double y = area.top() + (area.height() >= m_theme.px(20) ? m_theme.px(1) : (area.height() - m_theme.px(18)) / 2);
    const auto line = [&](TextStyle style, Token token, const QString& text, double advance) {
        if (text.isEmpty() || y + m_theme.px(14) > area.bottom() + m_scene.layout.gap())
            return;
        painter.setFont(m_theme.font(style));
        painter.setPen(m_theme.colour(token));
        painter.drawText(QRectF(left, y, room, m_theme.px(18)), Qt::AlignVCenter | Qt::TextSingleLine,
                         painter.fontMetrics().elidedText(text, Qt::ElideMiddle, static_cast<int>(room)));
        y += m_theme.px(advance);
    };
    line(TextStyle::Strong, Token::Text, lane.title, 20);
    if (area.height() + m_scene.layout.gap() < m_theme.px(36)) { // one line only: the note goes beside the title
        const double used = QFontMetricsF(m_theme.font(TextStyle::Strong)).horizontalAdvance(lane.title) + m_theme.px(6);
        painter.setFont(m_theme.font(TextStyle::Caption));
        painter.setPen(m_theme.colour(Token::Text2));
        painter.drawText(QRectF(left + used, y - m_theme.px(20), room - used, m_theme.px(18)), Qt::AlignVCenter | Qt::TextSingleLine,
                         painter.fontMetrics().elidedText(lane.note, Qt::ElideRight, static_cast<int>(std::max(0.0, room - used))));
        return;
    }
    line(TextStyle::Caption, Token::Text2, lane.note, 17);
    if (lane.missing)
        line(TextStyle::Caption, Token::Error, Atlas::tr("missing"), 15);
    line(TextStyle::Caption, Token::Text3, bytesText(lane.bytes), 15);
    if (!lane.foldedRanks.empty()) {
        std::vector<std::uint32_t> ranks = lane.foldedRanks;
        ranks.push_back(*lane.rank);
        line(TextStyle::Caption, Token::Text3, Atlas::tr("× %1, ranks %2").arg(ranks.size()).arg(rangeOfRanks(ranks)), 15);
    }
}

void AtlasPainter::paintStates(QPainter& painter, std::size_t index) const
{
    const QRectF tier = m_scene.layout.stateTier(index);
    if (tier.isEmpty())
        return;
    painter.setFont(m_theme.font(TextStyle::Caption));
    for (const AtlasState& state : m_scene.model->lanes()[index].states) {
        const QRectF rect = clipped(spanRect(m_scene.scale, state, tier, 1));
        if (rect.width() <= 0)
            continue;
        painter.fillRect(rect.adjusted(0, 0, rect.width() > 3 ? -1 : 0, 0), m_theme.colour(Token::Tier));
        painter.setPen(m_theme.colour(Token::Text2));
        const QRectF room = rect.adjusted(m_theme.px(6), 0, -m_theme.px(4), 0);
        if (!drawFitting(painter, room, state.label + QStringLiteral("   ") + bytesText(state.bytes), Qt::AlignVCenter))
            drawFitting(painter, room, state.label, Qt::AlignVCenter);
    }
}

void AtlasPainter::paintModules(QPainter& painter, std::size_t index) const
{
    const QRectF tier = m_scene.layout.moduleTier(index);
    if (tier.isEmpty())
        return;
    painter.setFont(m_theme.font(TextStyle::Tiny));
    const auto& lane = m_scene.model->lanes()[index];
    const double lastUnit = m_scene.scale.toUnit(m_right - m_left);
    QRectF narrow; // runs too narrow for a rectangle of their own, together
    const auto flush = [&] {
        if (narrow.width() > 0)
            painter.fillRect(QRectF(narrow.left(), narrow.top(), std::max(1.0, narrow.width()), narrow.height()), m_theme.colour(Token::Tier));
        narrow = {};
    };
    for (const AtlasRun& run : lane.runs) {
        if (static_cast<double>(run.begin) > lastUnit)
            break;
        const QRectF rect = clipped(spanRect(m_scene.scale, run, tier, 0));
        if (rect.right() < m_left || rect.width() < 0)
            continue;
        if (rect.width() < kLeastRun) {
            narrow = narrow.isNull() ? rect : QRectF(narrow.topLeft(), rect.bottomRight());
            continue;
        }
        flush();
        const AtlasModule& module = m_scene.model->modules()[run.module];
        painter.fillRect(rect.adjusted(0, 0, rect.width() > 2 ? -0.7 : 0, 0), m_theme.colour(module.odd ? Token::Tier : Token::TierAlt));
        if (rect.width() < m_theme.px(8))
            continue;
        painter.setPen(m_theme.colour(Token::Text2));
        drawFitting(painter, rect.adjusted(1, 0, -2, 0), module.label, Qt::AlignCenter);
    }
    flush();
}

void AtlasPainter::paintPieces(QPainter& painter) const
{
    const QRectF area = m_scene.layout.lanes();
    const double ratio = m_pixelRatio;
    const auto width = static_cast<int>(std::lround((m_right - m_left) * ratio));
    const auto height = static_cast<int>(std::lround(area.height() * ratio));
    if (width <= 0 || height <= 0)
        return;
    QImage image(width, height, QImage::Format_ARGB32_Premultiplied);
    image.fill(Qt::transparent);
    std::vector<AtlasColumn> columns(static_cast<std::size_t>(width));
    const AtlasColumnRequest request{m_scene.scale.firstUnit, m_scene.scale.unitsPerPixel / ratio, m_scene.dimmed};
    const auto [first, last] = m_scene.layout.visible();
    for (std::size_t lane = first; lane < last; ++lane) {
        if (m_scene.model->lanes()[lane].missing)
            continue; // a hole, painted as a mark
        const QRectF tier = m_scene.layout.pieceTier(lane);
        fillColumns(m_scene.model->lanes()[lane], *m_scene.palette, request, columns);
        const QPoint corner(0, static_cast<int>(std::lround((tier.top() - area.top()) * ratio)));
        paintColumns(image, corner, static_cast<int>(std::lround(tier.height() * ratio)), columns, m_scene.colours, std::max(0.0, 1 - 0.6 * ratio));
    }
    image.setDevicePixelRatio(ratio);
    painter.drawImage(QPointF(m_left, area.top()), image);
}

void AtlasPainter::paintPieceLabels(QPainter& painter, std::size_t index) const
{
    const QRectF tier = m_scene.layout.pieceTier(index);
    const AtlasLane& lane = m_scene.model->lanes()[index];
    if (lane.missing || tier.height() < m_theme.px(12))
        return;
    painter.setFont(m_theme.font(TextStyle::Caption));
    const double lastUnit = m_scene.scale.toUnit(m_right - m_left);
    const double least = m_theme.px(kLeastLabel) * m_scene.scale.unitsPerPixel;
    const auto start = static_cast<std::uint64_t>(std::max(0.0, m_scene.scale.firstUnit));
    for (std::size_t i = lane.firstEndingAfter(start); i < lane.size() && static_cast<double>(lane.starts[i]) < lastUnit; ++i) {
        if (static_cast<double>(lane.lengths[i]) < least)
            continue;
        const QRectF room = clipped(spanRect(m_scene.scale, {lane.starts[i], lane.endOf(i)}, tier, 0)).adjusted(m_theme.px(5), 0, -m_theme.px(5), 0);
        if (room.width() < m_theme.px(kLeastLabel))
            continue;
        std::uint16_t klass = m_scene.palette->classOf(lane.pieces[i]);
        if (!m_scene.dimmed.empty() && m_scene.dimmed[indexOf(lane.pieces[i])] != 0)
            klass |= AtlasColumn::kDimmed;
        painter.setPen(Theme::inkOn(m_scene.colours.colour(klass)));
        const std::string& name = m_scene.model->checkpoint().parameters()[indexOf(m_scene.model->parameterOf(lane.pieces[i]))];
        for (const QString& label : labelCandidates(name))
            if (drawFitting(painter, room, label, Qt::AlignVCenter))
                break;
    }
}

void AtlasPainter::paintMarks(QPainter& painter, std::size_t index) const
{
    const AtlasLane& lane = m_scene.model->lanes()[index];
    const QRectF tier = m_scene.layout.pieceTier(index);
    const double firstUnit = m_scene.scale.firstUnit;
    const double lastUnit = m_scene.scale.toUnit(m_right - m_left);
    for (auto from = lane.marks.begin(); from != lane.marks.end();) {
        const auto until = std::find_if(from, lane.marks.end(), [&](const AtlasMark& mark) { return mark.kind != from->kind; });
        const auto first = std::partition_point(from, until, [&](const AtlasMark& mark) { return static_cast<double>(mark.end) < firstUnit; });
        const auto last = std::partition_point(first, until, [&](const AtlasMark& mark) { return static_cast<double>(mark.begin) <= lastUnit; });
        // many small ones side by side keep their true width: widened they would cover what they mark
        const bool crowded = static_cast<double>(last - first) > (m_right - m_left) / kMarksThin && from->kind == AtlasMark::Kind::Padding;
        const double least = isOddity(from->kind) && !crowded ? kMarkWidth : 0;
        double painted = -1e9;
        for (auto mark = first; mark != last; ++mark) {
            const QRectF rect = clipped(spanRect(m_scene.scale, *mark, tier, least));
            if (rect.right() < painted + 0.5 || rect.width() < 0.5)
                continue;
            painted = rect.right();
            paintMark(painter, lane, *mark, rect);
        }
        from = until;
    }
}

void AtlasPainter::paintMark(QPainter& painter, const AtlasLane& lane, const AtlasMark& mark, const QRectF& rect) const
{
    const double gap = m_theme.px(6);
    switch (mark.kind) {
    case AtlasMark::Kind::Header: painter.fillRect(rect, m_theme.colour(Token::TierAlt)); return;
    case AtlasMark::Kind::Unused: painter.fillRect(rect, m_theme.colour(Token::Tier)); return;
    case AtlasMark::Kind::Padding:
        painter.fillRect(rect, m_theme.colour(Token::Track));
        paintHatch(painter, rect, m_theme.colour(Token::Hatch), gap);
        return;
    case AtlasMark::Kind::Hole: {
        painter.fillRect(rect, m_theme.colour(Token::ErrorWeak));
        paintHatch(painter, rect, m_theme.colour(Token::Hole), gap);
        painter.setPen(QPen(m_theme.colour(Token::Hole), 1));
        painter.drawRect(rect.adjusted(0.5, 0.5, -0.5, -0.5));
        if (rect.width() < m_theme.px(kHoleSignFrom))
            return;
        const QRectF sign(rect.center().x() - m_theme.px(6), rect.center().y() - m_theme.px(8), m_theme.px(12), m_theme.px(16));
        painter.fillRect(sign, m_theme.colour(Token::ErrorWeak));
        painter.setFont(m_theme.font(TextStyle::Strong));
        painter.setPen(m_theme.colour(Token::Error));
        painter.drawText(sign, Qt::AlignCenter, QStringLiteral("!"));
        return;
    }
    case AtlasMark::Kind::PastEnd:
        painter.setPen(QPen(m_theme.colour(Token::Hole), 1, Qt::DashLine));
        painter.drawRect(rect.adjusted(0.5, 0.5, -0.5, -0.5));
        return;
    case AtlasMark::Kind::Overlap: {
        const QPointF below[] = {rect.topRight(), rect.bottomRight(), rect.bottomLeft()};
        painter.fillRect(rect, m_scene.colours.colour(m_scene.palette->classOf(lane.pieces[mark.first])));
        painter.setPen(QPen(m_theme.colour(Token::Surface), 1));
        painter.setBrush(m_scene.colours.colour(m_scene.palette->classOf(lane.pieces[mark.second])));
        painter.drawPolygon(below, 3);
        painter.setBrush(Qt::NoBrush);
        return;
    }
    }
}

} // namespace shardlens::ui
