#include "ui/widgets/atlas_hit.h"

#include "ui/models/atlas_text.h"

#include <algorithm>
#include <cmath>

namespace shardlens::ui {
namespace {

constexpr double kAttraction = 4; // pixels within which the selection and marks attract
constexpr double kLeastPiece = 1; // pixels from which a piece is hit by itself

// The nearest of the selected places in this lane, where one is close.
std::optional<AtlasPlace> attracting(const AtlasScene& scene, std::size_t lane, double x)
{
    std::optional<AtlasPlace> best;
    double least = kAttraction;
    const AtlasLane& in = scene.model->lanes()[lane];
    for (const AtlasPlace place : scene.selected) {
        if (place.lane != lane)
            continue;
        const double from = scene.scale.toPixel(static_cast<double>(in.starts[place.index]));
        const double to = scene.scale.toPixel(static_cast<double>(in.endOf(place.index)));
        const double distance = std::max({from - x, x - to, 0.0});
        if (to - from < 2 * kAttraction && distance <= least) {
            least = distance;
            best = place;
        }
    }
    return best;
}

std::optional<std::uint32_t> markAt(const AtlasScene& scene, const AtlasLane& lane, double x, AtlasMark::Kind kind)
{
    for (std::uint32_t i = 0; i < lane.marks.size(); ++i) {
        if (lane.marks[i].kind != kind)
            continue;
        const double from = scene.scale.toPixel(static_cast<double>(lane.marks[i].begin));
        const double to = scene.scale.toPixel(static_cast<double>(lane.marks[i].end));
        const double slack = std::max(0.0, kAttraction - (to - from)) / 2;
        if (x >= from - slack && x < to + slack)
            return i;
    }
    return std::nullopt;
}

AtlasHit pieceHit(const AtlasScene& scene, std::uint32_t laneIndex, double x)
{
    const AtlasLane& lane = scene.model->lanes()[laneIndex];
    AtlasHit hit{AtlasHit::Kind::Nothing, laneIndex, 0, 0, 0, scene.scale.toUnit(x)};
    if (const auto place = attracting(scene, laneIndex, x)) {
        hit.kind = AtlasHit::Kind::Piece;
        hit.index = place->index;
        return hit;
    }
    const double pixel = std::floor(x);
    const double low = std::max(0.0, scene.scale.toUnit(pixel));
    const double high = scene.scale.toUnit(pixel + 1);
    std::size_t largest = lane.size();
    for (std::size_t i = lane.firstEndingAfter(static_cast<std::uint64_t>(low)); i < lane.size() && static_cast<double>(lane.starts[i]) < high; ++i) {
        if (static_cast<double>(lane.endOf(i)) <= low)
            continue;
        const double shared = std::min(high, static_cast<double>(lane.endOf(i))) - std::max(low, static_cast<double>(lane.starts[i]));
        ++hit.piecesInColumn;
        hit.unitsInColumn += static_cast<std::uint64_t>(std::max(0.0, shared));
        if (largest == lane.size() || lane.lengths[i] > lane.lengths[largest])
            largest = i;
    }
    if (largest == lane.size())
        return hit;
    const bool small = static_cast<double>(lane.lengths[largest]) < kLeastPiece * scene.scale.unitsPerPixel;
    hit.kind = small && hit.piecesInColumn > 1 ? AtlasHit::Kind::Column : AtlasHit::Kind::Piece;
    hit.index = static_cast<std::uint32_t>(largest);
    if (hit.kind == AtlasHit::Kind::Piece) {
        hit.index = static_cast<std::uint32_t>(lane.pieceAt(static_cast<std::uint64_t>(std::max(0.0, hit.unit))).value_or(largest));
        hit.piecesInColumn = 0;
        hit.unitsInColumn = 0;
    }
    return hit;
}

QString markTitle(const AtlasScene& scene, const AtlasMark& mark)
{
    switch (mark.kind) {
    case AtlasMark::Kind::Header: return Atlas::tr("Header and pickle bytes");
    case AtlasMark::Kind::Padding: return Atlas::tr("Padding");
    case AtlasMark::Kind::Unused: return Atlas::tr("Bytes of no tensor");
    case AtlasMark::Kind::Hole:
        return mark.tensor == kNoTensor ? Atlas::tr("Missing") : Atlas::tr("Missing: %1").arg(shortName(scene.model->checkpoint().parameterOf(mark.tensor)));
    case AtlasMark::Kind::PastEnd: return Atlas::tr("Past the end of the file");
    case AtlasMark::Kind::Overlap: return Atlas::tr("Two tensors share these bytes");
    }
    return {};
}

QString extentText(const AtlasScene& scene, const AtlasSpan& span)
{
    const QString length = numberText(span.end - span.begin);
    return scene.bytes() ? Atlas::tr("%1 at %2").arg(length, numberText(span.begin)) : Atlas::tr("%1 values from %2").arg(length, numberText(span.begin));
}

HoverCardContent markCard(const AtlasScene& scene, const AtlasHit& hit)
{
    const AtlasLane& lane = scene.model->lanes()[hit.lane];
    const AtlasMark& mark = lane.marks[hit.index];
    HoverCardContent card{{}, markTitle(scene, mark), lane.title, {{scene.bytes() ? Atlas::tr("Bytes") : Atlas::tr("Span"), extentText(scene, mark)}}};
    if (lane.file != kNoFile)
        card.rows.insert(card.rows.begin(), {Atlas::tr("File"), printableText(scene.model->checkpoint().file(lane.file).name)});
    if (mark.kind == AtlasMark::Kind::Hole) {
        card.colour = Theme::current().colour(Token::Hole);
        if (mark.tensor != kNoTensor)
            card.rows.emplace_back(Atlas::tr("State"), printableText(scene.model->checkpoint().roleOf(mark.tensor).name));
        card.rows.emplace_back(Atlas::tr("Who"), lane.file == kNoFile ? Atlas::tr("no file holds them") : Atlas::tr("should be in this file, which was not read"));
    }
    return card;
}

HoverCardContent pieceCard(const AtlasScene& scene, const AtlasHit& hit)
{
    const AtlasLane& lane = scene.model->lanes()[hit.lane];
    const PieceId piece = lane.pieces[hit.index];
    const PieceFacts facts = factsOf(scene.model->checkpoint(), piece);
    HoverCardContent card{scene.colours.colour(scene.palette->classOf(piece)), facts.name, facts.state, {}};
    card.rows = {{Atlas::tr("Box"), facts.box}, {Atlas::tr("File"), facts.file}, {Atlas::tr("Bytes"), facts.bytes}};
    if (const QString others = alsoOnText(scene.model->checkpoint(), piece); !others.isEmpty())
        card.rows.emplace_back(Atlas::tr("Also on"), others);
    if (!lane.foldedRanks.empty())
        card.rows.emplace_back(Atlas::tr("Like it"), counted(lane.foldedRanks.size(), Atlas::tr("1 more rank has this geometry: U unfolds"), Atlas::tr("%1 more ranks have this geometry: U unfolds")));
    return card;
}

HoverCardContent columnCard(const AtlasScene& scene, const AtlasHit& hit)
{
    const AtlasLane& lane = scene.model->lanes()[hit.lane];
    const PieceFacts largest = factsOf(scene.model->checkpoint(), lane.pieces[hit.index]);
    HoverCardContent card{{}, Atlas::tr("%1 pieces in this pixel").arg(numberText(hit.piecesInColumn)), lane.title, {}};
    const QString amount = scene.bytes() ? bytesText(hit.unitsInColumn) : Atlas::tr("%1 values").arg(numberText(hit.unitsInColumn));
    card.rows = {{Atlas::tr("Together"), amount}, {Atlas::tr("Largest"), Atlas::tr("%1, %2").arg(largest.name, largest.size)}, {QString(), Atlas::tr("a click zooms in")}};
    return card;
}

HoverCardContent headerCard(const AtlasScene& scene, const AtlasHit& hit)
{
    const AtlasLane& lane = scene.model->lanes()[hit.lane];
    HoverCardContent card{{}, lane.title, lane.note, {}};
    if (lane.rank)
        card.colour = Theme::current().categorical(static_cast<int>(*lane.rank));
    if (lane.file != kNoFile) {
        const File& file = scene.model->checkpoint().file(lane.file);
        card.rows = {{Atlas::tr("File"), printableText(file.name)}, {Atlas::tr("Holds"), printableText(file.holds)}, {Atlas::tr("As"), printableText(file.container)}};
        std::erase_if(card.rows, [](const auto& row) { return row.second.isEmpty(); });
    }
    if (!lane.group.isEmpty())
        card.rows.insert(card.rows.begin(), {Atlas::tr("Of"), lane.group});
    card.rows.emplace_back(Atlas::tr("Bytes"), numberText(lane.bytes));
    card.rows.emplace_back(Atlas::tr("Pieces"), numberText(lane.size()));
    return card;
}

HoverCardContent groupCard(const AtlasScene& scene, const AtlasHit& hit)
{
    const AtlasGroup& group = scene.model->groups()[hit.index];
    HoverCardContent card{{}, group.title, counted(group.allLanes, Atlas::tr("1 lane"), Atlas::tr("%1 lanes")), {}};
    card.rows = {{Atlas::tr("Bytes"), numberText(group.bytes)},
                 {QString(), group.isClosed ? Atlas::tr("a click opens it, G opens all") : Atlas::tr("a click closes it, G closes all")}};
    return card;
}

} // namespace

AtlasHit hitAt(const AtlasScene& scene, QPointF point)
{
    AtlasHit hit;
    const AtlasLayout& layout = scene.layout;
    if (layout.lens().contains(point)) {
        hit.kind = AtlasHit::Kind::Lens;
        return hit;
    }
    if (layout.minimap().contains(point)) {
        hit.kind = AtlasHit::Kind::Minimap;
        return hit;
    }
    if (layout.legend().contains(point)) {
        const auto rects = AtlasPainter::legendRects(*scene.palette, Theme::current().px(16), layout.legend().top(), layout.legend().width() - Theme::current().px(32));
        for (std::size_t i = 0; i < rects.size(); ++i)
            if (rects[i].contains(point))
                return {AtlasHit::Kind::Legend, 0, static_cast<std::uint32_t>(i), 0, 0, 0};
        return hit;
    }
    if (const auto group = layout.groupAt(point.y()))
        return {AtlasHit::Kind::Group, 0, static_cast<std::uint32_t>(*group), 0, 0, 0};
    const auto lane = layout.laneAt(point.y());
    if (!lane)
        return hit;
    hit.lane = static_cast<std::uint32_t>(*lane);
    if (point.x() < layout.plotLeft() - kAttraction) {
        hit.kind = AtlasHit::Kind::LaneHeader;
        return hit;
    }
    const double x = point.x() - layout.plotLeft();
    hit.unit = scene.scale.toUnit(x);
    if (x > layout.plotWidth() + kAttraction || !layout.lane(*lane).adjusted(-kAttraction, -kAttraction, kAttraction, kAttraction).contains(point))
        return hit;
    const AtlasLane& in = scene.model->lanes()[*lane];
    for (const AtlasMark::Kind kind : {AtlasMark::Kind::Hole, AtlasMark::Kind::PastEnd})
        if (const auto mark = markAt(scene, in, x, kind); mark && in.pieces.empty())
            return {AtlasHit::Kind::Mark, hit.lane, *mark, 0, 0, hit.unit};
    AtlasHit piece = pieceHit(scene, hit.lane, x);
    if (piece.kind != AtlasHit::Kind::Nothing)
        return piece;
    for (const AtlasMark::Kind kind : {AtlasMark::Kind::Padding, AtlasMark::Kind::Unused, AtlasMark::Kind::Header})
        if (const auto mark = markAt(scene, in, x, kind))
            return {AtlasHit::Kind::Mark, hit.lane, *mark, 0, 0, hit.unit};
    return hit;
}

HoverCardContent cardFor(const AtlasScene& scene, const AtlasHit& hit)
{
    switch (hit.kind) {
    case AtlasHit::Kind::Piece: return pieceCard(scene, hit);
    case AtlasHit::Kind::Column: return columnCard(scene, hit);
    case AtlasHit::Kind::Mark: return markCard(scene, hit);
    case AtlasHit::Kind::LaneHeader: return headerCard(scene, hit);
    case AtlasHit::Kind::Group: return groupCard(scene, hit);
    case AtlasHit::Kind::Nothing:
    case AtlasHit::Kind::Legend:
    case AtlasHit::Kind::Minimap:
    case AtlasHit::Kind::Lens: return {};
    }
    return {};
}

QString statusFor(const AtlasScene& scene, const AtlasHit& hit)
{
    switch (hit.kind) {
    case AtlasHit::Kind::Piece: return pieceSentence(scene.model->checkpoint(), scene.model->lanes()[hit.lane].pieces[hit.index]);
    case AtlasHit::Kind::Column:
    case AtlasHit::Kind::Mark:
    case AtlasHit::Kind::Group:
    case AtlasHit::Kind::LaneHeader: {
        const HoverCardContent card = cardFor(scene, hit);
        return card.rows.empty() ? card.title : Atlas::tr("%1 · %2").arg(card.title, card.rows.front().second);
    }
    case AtlasHit::Kind::Nothing:
    case AtlasHit::Kind::Legend:
    case AtlasHit::Kind::Minimap:
    case AtlasHit::Kind::Lens: return {};
    }
    return {};
}

} // namespace shardlens::ui
