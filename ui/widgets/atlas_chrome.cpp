#include "ui/widgets/atlas_painter.h"

#include "core/base/text.h"
#include "ui/models/atlas_text.h"

#include <algorithm>
#include <cmath>

namespace shardlens::ui {
namespace {

constexpr double kHalo = 3;
constexpr double kOutline = 2;
constexpr double kLeastOutlined = 3;
constexpr int kLensSteps = 8;
constexpr double kUnseenShare = 0.01; // of all bytes: less is not a row of pixels even in a stacked column
constexpr double kTriangleGap = 7;    // pixels between lanes from which every occurrence has its triangle

void outline(QPainter& painter, const QRectF& rect, const Theme& theme)
{
    painter.setBrush(Qt::NoBrush);
    painter.setPen(QPen(theme.colour(Token::Halo), kHalo + 2));
    painter.drawRoundedRect(rect, 2, 2);
    painter.setPen(QPen(theme.colour(Token::Selection), kOutline));
    painter.drawRoundedRect(rect, 2, 2);
}

void swatch(QPainter& painter, const QRectF& rect, const AtlasInk& ink, const Theme& theme, double opacity)
{
    painter.fillRect(rect, mixed(colourOf(ink, theme), theme.colour(Token::Window), opacity));
    const int round = ink.kind == AtlasInk::Kind::Slot ? ink.slot / 12 : 0;
    painter.setPen(Qt::NoPen);
    painter.setBrush(Theme::inkOn(colourOf(ink, theme)));
    if (round == 1)
        painter.drawEllipse(rect.center(), rect.width() / 5, rect.width() / 5);
    if (round == 2)
        painter.drawRect(QRectF(rect.left(), rect.top(), rect.width() / 4, rect.height()));
    if (round >= 3) {
        painter.drawRect(QRectF(rect.center().x() - rect.width() / 10, rect.top(), rect.width() / 5, rect.height()));
        painter.drawRect(QRectF(rect.left(), rect.center().y() - rect.height() / 10, rect.width(), rect.height() / 5));
    }
    painter.setBrush(Qt::NoBrush);
}

} // namespace

std::vector<QRectF> AtlasPainter::legendRects(const AtlasPalette& palette, double left, double top, double width)
{
    const Theme& theme = Theme::current();
    const QFontMetricsF metrics(theme.font(TextStyle::Caption));
    const double height = theme.px(26);
    double x = left;
    double y = top;
    std::vector<QRectF> out;
    for (const AtlasPalette::Entry& entry : palette.legend()) {
        const double needed = theme.px(17) + metrics.horizontalAdvance(entry.title) + theme.px(15);
        if (x > left && x + needed > left + width) {
            x = left;
            y += height;
        }
        out.emplace_back(x, y, needed, height);
        x += needed;
    }
    return out;
}

double AtlasPainter::legendHeight(const AtlasPalette& palette, double width)
{
    const Theme& theme = Theme::current();
    const std::vector<QRectF> rects = legendRects(palette, theme.px(16), 0, width - theme.px(32));
    return rects.empty() ? theme.px(26) : rects.back().bottom();
}

// The first class whose pieces are all too small to see is said, not left out in silence (design.md §1.1).
QString AtlasPainter::belowAPixel() const
{
    std::uint64_t all = 0;
    for (const AtlasClass& one : m_scene.palette->classes())
        all += one.bytes;
    for (const AtlasClass& one : m_scene.palette->classes())
        if (one.bytes > 0 && static_cast<double>(one.largestPiece) < m_scene.scale.unitsPerPixel && static_cast<double>(one.bytes) < kUnseenShare * static_cast<double>(all))
            return Atlas::tr("%1 are %2: below a pixel")
                .arg(one.title, QString::fromStdString(percentText(static_cast<double>(one.bytes) / static_cast<double>(all))));
    return {};
}

void AtlasPainter::paintLegend(QPainter& painter) const
{
    const QRectF& area = m_scene.layout.legend();
    painter.fillRect(area, m_theme.colour(Token::Window));
    painter.setPen(m_theme.colour(Token::Border));
    painter.drawLine(QPointF(area.left(), area.top() + 0.5), QPointF(area.right(), area.top() + 0.5));
    painter.drawLine(QPointF(area.left(), area.bottom() - 0.5), QPointF(area.right(), area.bottom() - 0.5));
    painter.setFont(m_theme.font(TextStyle::Caption));
    const auto rects = legendRects(*m_scene.palette, m_theme.px(16), area.top(), area.width() - m_theme.px(32));
    const auto& entries = m_scene.palette->legend();
    for (std::size_t i = 0; i < rects.size(); ++i) {
        const bool off = m_scene.legendKept && *m_scene.legendKept != i;
        const double side = m_theme.px(11);
        swatch(painter, QRectF(rects[i].left(), std::round(rects[i].center().y() - side / 2), side, side), entries[i].ink, m_theme, off ? 0.25 : 1);
        painter.setPen(m_theme.colour(off ? Token::Text3 : Token::Text2));
        painter.drawText(rects[i].adjusted(m_theme.px(17), 0, 0, 0), Qt::AlignVCenter | Qt::TextSingleLine, entries[i].title);
    }
    const QString note = m_scene.palette->note().isEmpty() ? belowAPixel() : m_scene.palette->note();
    const double used = rects.empty() ? 0 : rects.back().right();
    const QRectF room(used, area.bottom() - m_theme.px(26), area.width() - used - m_theme.px(16), m_theme.px(26));
    painter.setPen(m_theme.colour(Token::Text3));
    if (!note.isEmpty() && painter.fontMetrics().horizontalAdvance(note) <= room.width())
        painter.drawText(room, Qt::AlignVCenter | Qt::AlignRight, note);
}

void AtlasPainter::paintHints(QPainter& painter) const
{
    const QRectF& area = m_scene.layout.hints();
    const bool overLens = !m_scene.layout.lens().isEmpty();
    painter.fillRect(area, m_theme.colour(overLens ? Token::Surface : Token::Window));
    painter.setFont(m_theme.font(TextStyle::Caption));
    const QRectF room = area.adjusted(m_theme.px(16), 0, -m_theme.px(16), 0);
    const double status = painter.fontMetrics().horizontalAdvance(m_scene.status);
    const QRectF left = room.adjusted(0, 0, -status - m_theme.px(24), 0);
    QString hints;
    for (const QString& hint : m_scene.hints) { // as many as fit whole
        const QString longer = hints.isEmpty() ? hint : hints + QStringLiteral("    ") + hint;
        if (painter.fontMetrics().horizontalAdvance(longer) > left.width())
            break;
        hints = longer;
    }
    painter.setPen(m_theme.colour(Token::Text3));
    painter.drawText(left, Qt::AlignVCenter | Qt::TextSingleLine, hints);
    painter.setPen(m_theme.colour(Token::Text2));
    painter.drawText(room, Qt::AlignVCenter | Qt::AlignRight | Qt::TextSingleLine, m_scene.status);
}

void AtlasPainter::paintMinimapTicks(QPainter& painter) const
{
    const QRectF& map = m_scene.layout.minimap();
    const auto& lanes = m_scene.model->lanes();
    const AtlasScale whole = AtlasScale::fit(m_scene.model->length(), map.width(), m_scene.bytes());
    const double pitch = (map.height() - 4) / static_cast<double>(std::max<std::size_t>(lanes.size(), 1));
    for (const AtlasPlace place : m_scene.selected) {
        const double x = map.left() + whole.toPixel(static_cast<double>(lanes[place.lane].starts[place.index]));
        const double width = std::max(3.0, static_cast<double>(lanes[place.lane].lengths[place.index]) / whole.unitsPerPixel);
        const double y = map.top() + 2 + pitch * place.lane;
        painter.fillRect(QRectF(x, y, width, std::max(4.0, std::min(pitch, 6.5))), m_theme.colour(Token::Selection));
    }
}

void AtlasPainter::paintSelection(QPainter& painter) const
{
    paintMinimapTicks(painter);
    painter.save();
    painter.setRenderHint(QPainter::Antialiasing);
    painter.setClipRect(QRectF(m_left - 4, m_scene.layout.lanes().top(), m_right - m_left + 8, m_scene.layout.lanes().height()));
    const auto [first, last] = m_scene.layout.visible();
    const double unit = m_theme.px(1);
    for (const AtlasPlace place : m_scene.selected) {
        if (place.lane < first || place.lane >= last)
            continue;
        const QRectF rect = rectOf(place, kLeastOutlined);
        if (rect.right() < m_left || rect.left() > m_right)
            continue;
        outline(painter, rect.adjusted(-2, -2, 2, 2), m_theme);
        if (m_scene.layout.gap() < m_theme.px(kTriangleGap) && m_scene.focus != place)
            continue;
        const double x = std::clamp(rect.center().x(), m_left, m_right);
        const double y = m_scene.layout.lane(place.lane).top();
        const QPointF triangle[] = {{x - 5 * unit, y - 7 * unit}, {x + 5 * unit, y - 7 * unit}, {x, y - unit}};
        painter.setPen(Qt::NoPen);
        painter.setBrush(m_theme.colour(m_scene.focus == place ? Token::Accent : Token::Selection));
        painter.drawPolygon(triangle, 3);
    }
    painter.restore();
}

void AtlasPainter::paintLens(QPainter& painter, const AtlasLens& lens) const
{
    const QRectF& area = m_scene.layout.lens();
    if (area.isEmpty() || lens.lane >= m_scene.model->lanes().size())
        return;
    const AtlasLane& lane = m_scene.model->lanes()[lens.lane];
    painter.fillRect(area, m_theme.colour(Token::Surface));
    const double width = m_right - m_left;
    const double perPixel = std::max(m_scene.scale.unitsPerPixel / lens.magnification, 1.0 / 16);
    AtlasScale scale{lens.centreUnit - perPixel * width / 2, perPixel};
    scale.firstUnit = std::clamp(scale.firstUnit, 0.0, std::max(0.0, static_cast<double>(lane.length) - perPixel * width));
    const double left = m_theme.px(16);
    const double top = area.top() + m_theme.px(8);
    const QString span = m_scene.bytes() ? bytesText(static_cast<std::uint64_t>(perPixel * width)) : numberText(static_cast<std::uint64_t>(perPixel * width));
    const auto line = [&](int row, TextStyle style, Token token, const QString& text) {
        painter.setFont(m_theme.font(style));
        painter.setPen(m_theme.colour(token));
        const double room = m_left - left - m_theme.px(6);
        painter.drawText(QRectF(left, top + row * m_theme.px(18), room, m_theme.px(18)), Qt::AlignVCenter | Qt::TextSingleLine,
                         painter.fontMetrics().elidedText(text, Qt::ElideMiddle, static_cast<int>(room)));
    };
    line(0, TextStyle::Strong, Token::Text, lens.frozen ? Atlas::tr("Lens, held") : Atlas::tr("Lens"));
    line(1, TextStyle::Caption, Token::Text2, lane.title);
    line(2, TextStyle::Caption, Token::Text2, span);
    line(3, TextStyle::Caption, Token::Text3, Atlas::tr("%1 × the atlas").arg(std::round(m_scene.scale.unitsPerPixel / perPixel)));
    const QRectF tier(m_left, top + m_theme.px(24), width, m_theme.px(68));
    painter.save();
    painter.setClipRect(QRectF(m_left - 4, area.top(), width + 8, area.height()));
    painter.setFont(m_theme.font(TextStyle::Caption));
    for (const AtlasState& state : lane.states) {
        const QRectF rect = clipped(spanRect(scale, state, QRectF(m_left, top + m_theme.px(4), width, m_theme.px(18)), 1));
        if (rect.width() <= 0)
            continue;
        painter.fillRect(rect.adjusted(0, 0, -1, 0), m_theme.colour(Token::Tier));
        painter.setPen(m_theme.colour(Token::Text2));
        const QString text = lane.rank ? Atlas::tr("%1, rank %2").arg(state.label).arg(*lane.rank) : state.label;
        if (painter.fontMetrics().horizontalAdvance(text) <= rect.width() - m_theme.px(10))
            painter.drawText(rect.adjusted(m_theme.px(8), 0, 0, 0), Qt::AlignVCenter, text);
    }
    paintLensPieces(painter, lane, scale, tier);
    for (const AtlasPlace place : m_scene.selected)
        if (place.lane == lens.lane) {
            painter.setRenderHint(QPainter::Antialiasing);
            const QRectF rect = spanRect(scale, {lane.starts[place.index], lane.endOf(place.index)}, tier, kLeastOutlined);
            if (rect.right() >= m_left && rect.left() <= m_right)
                outline(painter, rect.adjusted(-1, -1, 0, 1), m_theme);
            painter.setRenderHint(QPainter::Antialiasing, false);
        }
    painter.restore();
    paintLensRuler(painter, scale, tier.bottom() + m_theme.px(4));
}

void AtlasPainter::paintLensPieces(QPainter& painter, const AtlasLane& lane, const AtlasScale& scale, const QRectF& tier) const
{
    const auto width = static_cast<int>(std::lround(tier.width() * m_pixelRatio));
    QImage image(width, static_cast<int>(std::lround(tier.height() * m_pixelRatio)), QImage::Format_ARGB32_Premultiplied);
    image.fill(Qt::transparent);
    std::vector<AtlasColumn> columns(static_cast<std::size_t>(width));
    if (!lane.missing)
        fillColumns(lane, *m_scene.palette, {scale.firstUnit, scale.unitsPerPixel / m_pixelRatio, m_scene.dimmed}, columns);
    paintColumns(image, {0, 0}, image.height(), columns, m_scene.colours, 0);
    image.setDevicePixelRatio(m_pixelRatio);
    painter.drawImage(tier.topLeft(), image);
    painter.setFont(m_theme.font(TextStyle::Caption));
    const double lastUnit = scale.toUnit(tier.width());
    const double least = m_theme.px(56) * scale.unitsPerPixel;
    for (std::size_t i = lane.firstEndingAfter(static_cast<std::uint64_t>(scale.firstUnit)); i < lane.size() && static_cast<double>(lane.starts[i]) < lastUnit; ++i) {
        if (static_cast<double>(lane.lengths[i]) < least)
            continue;
        const double from = std::max(tier.left(), tier.left() + scale.toPixel(static_cast<double>(lane.starts[i])));
        const double to = std::min(tier.right(), tier.left() + scale.toPixel(static_cast<double>(lane.endOf(i))));
        const QRectF room(from + m_theme.px(7), tier.top() + m_theme.px(5), to - from - m_theme.px(12), m_theme.px(17));
        if (room.width() < m_theme.px(40))
            continue;
        std::uint16_t klass = m_scene.palette->classOf(lane.pieces[i]);
        if (!m_scene.dimmed.empty() && m_scene.dimmed[indexOf(lane.pieces[i])] != 0)
            klass |= AtlasColumn::kDimmed;
        painter.setPen(Theme::inkOn(m_scene.colours.colour(klass)));
        const QStringList labels = labelCandidates(m_scene.model->checkpoint().parameters()[indexOf(m_scene.model->parameterOf(lane.pieces[i]))]);
        QStringList lines{labels.back()};
        if (labels.size() > 2) // "layers.7 up_proj" on two lines
            lines.prepend(labels[1].left(labels[1].size() - labels.back().size() - 1));
        const QString size = m_scene.bytes() ? bytesText(lane.lengths[i]) : numberText(lane.lengths[i]);
        for (int row = 0; row < lines.size(); ++row)
            painter.drawText(room.translated(0, row * m_theme.px(16)), Qt::AlignVCenter | Qt::TextSingleLine,
                             painter.fontMetrics().elidedText(lines[row], Qt::ElideMiddle, static_cast<int>(room.width())));
        if (painter.fontMetrics().horizontalAdvance(size) <= room.width())
            painter.drawText(room.translated(0, m_theme.px(42)), Qt::AlignVCenter | Qt::TextSingleLine, size);
    }
}

void AtlasPainter::paintLensRuler(QPainter& painter, const AtlasScale& scale, double top) const
{
    const double width = m_right - m_left;
    painter.setFont(m_theme.font(TextStyle::Caption));
    for (int i = 0; i <= kLensSteps; ++i) {
        const double x = std::round(m_left + width * i / kLensSteps);
        painter.setPen(m_theme.colour(Token::BorderStrong));
        painter.drawLine(QPointF(x + 0.5, top), QPointF(x + 0.5, top + m_theme.px(5)));
        const auto unit = static_cast<std::uint64_t>(std::max(0.0, scale.toUnit(width * i / kLensSteps)));
        const auto further = static_cast<std::uint64_t>(scale.unitsPerPixel * width * i / kLensSteps);
        const QString text = i == 0 ? numberText(unit) : QLatin1Char('+') + (m_scene.bytes() ? bytesText(further) : QString::fromStdString(countText(further)));
        const double needed = painter.fontMetrics().horizontalAdvance(text);
        const double at = i == 0 ? x : i == kLensSteps ? x - needed : x - needed / 2;
        painter.setPen(m_theme.colour(Token::Text3));
        painter.drawText(QRectF(at, top + m_theme.px(6), needed + 2, m_theme.px(16)), Qt::AlignVCenter, text);
    }
}

} // namespace shardlens::ui
