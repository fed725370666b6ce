#include "core/model/piece_bands.h"

#include "core/model/box_sweep.h"

#include <algorithm>
#include <compare>
#include <deque>
#include <optional>
#include <queue>
#include <utility>

namespace shardlens {
namespace {

constexpr std::size_t kMostParts = 1u << 24; // of all bands; no layout of a real run comes near

// Bands of flat ranges: between two borders the first of the pieces that are open there.
PieceBands bandsOfRanges(const std::vector<std::pair<FlatRange, PieceId>>& unsorted, std::uint64_t cells)
{
    std::vector<std::pair<FlatRange, PieceId>> ranges = unsorted;
    std::sort(ranges.begin(), ranges.end());
    std::vector<std::uint64_t> borders;
    std::uint64_t held = 0;
    for (const auto& [range, piece] : ranges) {
        borders.insert(borders.end(), {range.begin, range.end});
        held += range.size();
    }
    std::sort(borders.begin(), borders.end());
    borders.erase(std::unique(borders.begin(), borders.end()), borders.end());
    PieceBands out;
    const auto isLater = [](const auto& a, const auto& b) { return a.second > b.second; };
    std::priority_queue<std::pair<FlatRange, PieceId>, std::vector<std::pair<FlatRange, PieceId>>, decltype(isLater)> open(isLater);
    std::uint64_t covered = 0;
    auto next = ranges.begin();
    for (std::size_t i = 0; i + 1 < borders.size(); ++i) {
        const FlatRange part{borders[i], borders[i + 1]};
        for (; next != ranges.end() && next->first.begin == part.begin; ++next)
            open.push(*next);
        while (!open.empty() && open.top().first.end <= part.begin)
            open.pop();
        if (open.empty() || part.begin > covered)
            break;
        const PieceId piece = open.top().second;
        covered = part.end;
        if (!out.bands.empty() && out.parts.back().piece == piece) {
            out.bands.back().cells.end = part.end;
            out.parts.back().cells += part.size();
            continue;
        }
        out.parts.push_back({piece, part.size()});
        out.bands.push_back({part, out.parts.size() - 1, out.parts.size()});
    }
    out.complete = covered >= cells;
    out.overlaps = held != covered;
    return out;
}

// Of boxes that are equal the first; then ascending by piece. True where some were left out.
bool keepFirstOfEqual(std::vector<BoxPart>& boxes)
{
    const auto order = [](const BoxPart& a, const BoxPart& b) {
        const auto compare = [](ShapeView x, ShapeView y) { return std::lexicographical_compare_three_way(x.begin(), x.end(), y.begin(), y.end()); };
        const auto offsets = compare(a.box.offset, b.box.offset);
        return offsets != 0 ? offsets : compare(a.box.extent, b.box.extent);
    };
    std::sort(boxes.begin(), boxes.end(), [&](const BoxPart& a, const BoxPart& b) {
        const auto boxOrder = order(a, b);
        return boxOrder != 0 ? boxOrder < 0 : a.piece < b.piece;
    });
    const auto end = std::unique(boxes.begin(), boxes.end(), [&](const BoxPart& a, const BoxPart& b) { return order(a, b) == 0; });
    const bool someEqual = end != boxes.end();
    boxes.erase(end, boxes.end());
    std::sort(boxes.begin(), boxes.end(), [](const BoxPart& a, const BoxPart& b) { return a.piece < b.piece; });
    return someEqual;
}

// Whether boxes hold every cell of the space; nothing where that takes too long to say.
std::optional<bool> areComplete(const std::vector<BoxPart>& boxes, ShapeView units, BoxSweep& sweep, bool& overlaps)
{
    if (boxes.size() <= 1)
        return !boxes.empty() && boxes.front().box.volume() == elementCount(units).value_or(0);
    Coverage coverage;
    if (!sweep.sweep(boxes, units, coverage)) // of no axes there is one at most
        return std::nullopt;
    overlaps = overlaps || coverage.overlappingPairs > 0;
    return coverage.complete();
}

// Adds the parts of a band; false where a cell of it is held by none, or the budgets are used up.
bool addBand(FlatRange rows, std::vector<BoxPart>& columns, ShapeView units, BoxSweep& sweep, PieceBands& out)
{
    out.overlaps = keepFirstOfEqual(columns) || out.overlaps;
    const auto complete = areComplete(columns, units, sweep, out.overlaps);
    out.scattered = !complete || out.parts.size() + columns.size() > kMostParts;
    if (out.scattered || !*complete)
        return false;
    const std::uint64_t rowCells = elementCount(units).value_or(0);
    const std::size_t first = out.parts.size();
    for (const BoxPart& one : columns) {
        if (out.parts.size() > first && out.parts.back().piece == one.piece) // a flat range that is several boxes
            out.parts.back().cells += one.box.volume() * rows.size();
        else
            out.parts.push_back({one.piece, one.box.volume() * rows.size()});
    }
    out.bands.push_back({{rows.begin * rowCells, rows.end * rowCells}, first, out.parts.size()});
    return true;
}

PieceBands bandsOfBoxes(std::vector<BoxPart> boxes, ShapeView units)
{
    std::size_t leading = 0;
    while (leading + 1 < units.size() && units[leading] == 1)
        ++leading;
    for (BoxPart& one : boxes)
        one = withoutAxes(one, leading);
    units = units.subspan(leading);
    std::stable_sort(boxes.begin(), boxes.end(), [](const BoxPart& a, const BoxPart& b) { return a.box.offset[0] < b.box.offset[0]; });
    PieceBands out;
    BoxSweep sweep(0);
    std::vector<BoxPart> open;
    std::vector<BoxPart> columns;
    auto next = boxes.begin();
    const std::vector<std::uint64_t> borders = bordersOf(boxes, units[0]);
    for (std::size_t i = 0; i + 1 < borders.size(); ++i) {
        const FlatRange rows{borders[i], borders[i + 1]};
        std::erase_if(open, [&](const BoxPart& one) { return one.box.offset[0] + one.box.extent[0] <= rows.begin; });
        for (; next != boxes.end() && next->box.offset[0] == rows.begin; ++next)
            open.push_back(*next);
        columns.clear();
        for (const BoxPart& one : open)
            columns.push_back(withoutAxes(one, 1));
        if (!addBand(rows, columns, units.subspan(1), sweep, out))
            return out;
    }
    out.complete = true;
    return out;
}

} // namespace

PieceBands bandsOf(const Checkpoint& checkpoint, std::span<const PieceId> pieces, ShapeView units)
{
    const std::uint64_t cells = elementCount(units).value_or(0);
    PieceBands nothing;
    nothing.complete = cells == 0;
    if (cells == 0)
        return nothing;
    std::deque<Box> made;
    std::vector<BoxPart> boxes;
    std::vector<std::pair<FlatRange, PieceId>> ranges;
    for (const PieceId id : pieces) {
        const Piece piece = checkpoint.pieces().at(id);
        if (checkpoint.stream(piece.source.stream).kind == Stream::Kind::Missing || volumeOf(piece.region) == 0)
            continue;
        if (const auto* flat = std::get_if<FlatRange>(&piece.region))
            ranges.emplace_back(*flat, id);
        else if (units.empty())
            ranges.emplace_back(FlatRange{0, 1}, id);
        else
            boxes.push_back({std::get<BoxView>(piece.region), id});
    }
    if (boxes.empty())
        return bandsOfRanges(ranges, cells);
    for (const auto& [range, id] : ranges)
        addBoxes(range, id, false, units, made, boxes);
    return bandsOfBoxes(std::move(boxes), units);
}

} // namespace shardlens
