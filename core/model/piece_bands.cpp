#include "core/model/piece_bands.h"

#include <algorithm>

namespace shardlens {
namespace {

constexpr std::uint64_t kFreeBands = 4096;
constexpr std::uint64_t kMostRuns = 1u << 24; // in memory; no layout of a real run comes near, a harmed one may ask for 2^40

struct HeldRun {
    FlatRange cells;
    PieceId piece;
};

struct HeldBox {
    BoxView box;
    PieceId piece;
};

// Takes the runs of one row, ascending by begin, as its segments; false at the first gap.
bool takeRuns(const std::vector<HeldRun>& runs, std::uint64_t cells, PieceBands& out)
{
    const std::size_t first = out.segments.size();
    std::uint64_t covered = 0;
    std::uint64_t held = 0;
    for (const HeldRun& run : runs) {
        held += run.cells.size();
        if (run.cells.begin > covered)
            break;
        if (run.cells.end <= covered)
            continue;
        if (out.segments.size() > first && out.segments.back().piece == run.piece)
            out.segments.back().cells.end = run.cells.end;
        else
            out.segments.push_back({{covered, run.cells.end}, run.piece});
        covered = run.cells.end;
    }
    out.overlaps = out.overlaps || held != covered;
    return covered >= cells;
}

void sortRuns(std::vector<HeldRun>& runs)
{
    const auto isBefore = [](const HeldRun& a, const HeldRun& b) { return a.cells.begin < b.cells.begin; };
    if (!std::is_sorted(runs.begin(), runs.end(), isBefore))
        std::stable_sort(runs.begin(), runs.end(), isBefore);
}

// All cells as one row.
PieceBands oneRow(const Checkpoint& checkpoint, std::span<const PieceId> pieces, ShapeView units)
{
    PieceBands out;
    std::uint64_t count = 0;
    for (const PieceId id : pieces) {
        const RegionView region = checkpoint.pieces().at(id).region;
        const auto* box = std::get_if<BoxView>(&region);
        count += box == nullptr ? 0 : std::min(runCountOf(*box, units), kMostRuns + 1);
    }
    if (count > kMostRuns) {
        out.scattered = true;
        return out;
    }
    std::vector<HeldRun> runs;
    runs.reserve(pieces.size() + count);
    for (const PieceId id : pieces) {
        const RegionView region = checkpoint.pieces().at(id).region;
        if (const auto* flat = std::get_if<FlatRange>(&region)) {
            if (!flat->empty())
                runs.push_back({*flat, id});
        } else {
            forEachRun(std::get<BoxView>(region), units, [&](FlatRange cells) { runs.push_back({cells, id}); });
        }
    }
    sortRuns(runs);
    out.rowCells = elementCount(units).value_or(0);
    out.complete = takeRuns(runs, out.rowCells, out);
    out.bands.push_back({{0, 1}, 0, out.segments.size()});
    return out;
}

// The boxes of the pieces, by first row; empty where some are flat.
std::vector<HeldBox> boxesOf(const Checkpoint& checkpoint, std::span<const PieceId> pieces)
{
    std::vector<HeldBox> out;
    out.reserve(pieces.size());
    for (const PieceId id : pieces) {
        const RegionView region = checkpoint.pieces().at(id).region;
        const auto* box = std::get_if<BoxView>(&region);
        if (box == nullptr)
            return {};
        if (box->volume() != 0)
            out.push_back({*box, id});
    }
    std::stable_sort(out.begin(), out.end(), [](const HeldBox& a, const HeldBox& b) { return a.box.offset[0] < b.box.offset[0]; });
    return out;
}

BoxView columnsOf(const BoxView& box)
{
    return {box.offset.subspan(1), box.extent.subspan(1)};
}

std::vector<std::uint64_t> rowBorders(const std::vector<HeldBox>& boxes)
{
    std::vector<std::uint64_t> out;
    for (const HeldBox& held : boxes)
        for (const std::uint64_t row : {held.box.offset[0], held.box.offset[0] + held.box.extent[0]})
            out.push_back(row);
    std::sort(out.begin(), out.end());
    out.erase(std::unique(out.begin(), out.end()), out.end());
    return out;
}

// Bands of boxes. Nothing where single runs of all cells are no more than they would be.
std::optional<PieceBands> bandsOfBoxes(const std::vector<HeldBox>& boxes, ShapeView units)
{
    PieceBands out;
    const ShapeView columns = units.subspan(1);
    out.rowCells = elementCount(columns).value_or(0);
    std::vector<const HeldBox*> open;
    std::vector<HeldRun> runs;
    std::size_t next = 0;
    std::uint64_t visited = 0;
    std::uint64_t runsInAll = 0;
    for (const HeldBox& held : boxes)
        runsInAll += std::min(runCountOf(held.box, units), kMostRuns);
    const std::vector<std::uint64_t> borders = rowBorders(boxes);
    std::uint64_t covered = 0;
    for (std::size_t i = 0; i + 1 < borders.size(); ++i) {
        const FlatRange rows{borders[i], borders[i + 1]};
        std::erase_if(open, [&](const HeldBox* one) { return one->box.offset[0] + one->box.extent[0] <= rows.begin; });
        for (; next < boxes.size() && boxes[next].box.offset[0] == rows.begin; ++next)
            open.push_back(&boxes[next]);
        for (const HeldBox* one : open)
            visited += std::min(runCountOf(columnsOf(one->box), columns), kMostRuns);
        if (visited > std::max(kFreeBands, std::min(runsInAll, kMostRuns)))
            return std::nullopt;
        if (rows.begin > covered)
            return out;
        std::sort(open.begin(), open.end(), [](const HeldBox* a, const HeldBox* b) { return a->piece < b->piece; }); // the first piece counts
        runs.clear();
        for (const HeldBox* one : open)
            forEachRun(columnsOf(one->box), columns, [&](FlatRange cells) { runs.push_back({cells, one->piece}); });
        sortRuns(runs);
        const std::size_t first = out.segments.size();
        const bool isWhole = takeRuns(runs, out.rowCells, out);
        if (!isWhole)
            return out;
        out.bands.push_back({rows, first, out.segments.size()});
        covered = rows.end;
    }
    out.complete = covered >= units[0];
    return out;
}

} // namespace

PieceBands bandsOf(const Checkpoint& checkpoint, std::span<const PieceId> pieces, ShapeView units)
{
    std::vector<PieceId> present;
    present.reserve(pieces.size());
    for (const PieceId id : pieces)
        if (checkpoint.stream(checkpoint.pieces().at(id).source.stream).kind != Stream::Kind::Missing)
            present.push_back(id);
    if (elementCount(units).value_or(0) == 0) {
        PieceBands nothing;
        nothing.complete = true;
        return nothing;
    }
    if (!units.empty())
        if (const std::vector<HeldBox> boxes = boxesOf(checkpoint, present); !boxes.empty())
            if (auto bands = bandsOfBoxes(boxes, units))
                return std::move(*bands);
    return oneRow(checkpoint, present, units);
}

} // namespace shardlens
