#include "core/model/coverage.h"

#include "core/model/piece_bands.h"

#include <algorithm>
#include <deque>
#include <iterator>
#include <map>
#include <set>
#include <span>

namespace shardlens {
namespace {

constexpr std::uint64_t kMostSteps = 1u << 24; // of a sweep by bands; no layout of a real run comes near

struct Run {
    FlatRange range;
    PieceId piece;
    bool missing;
};

struct Part {
    RegionView region;
    PieceId piece;
    bool missing;
};

struct BoxPart {
    BoxView box;
    PieceId piece;
    bool missing;
};

std::vector<Part> partsOf(const Checkpoint& checkpoint, std::span<const PieceId> ids)
{
    std::vector<Part> out;
    out.reserve(ids.size());
    for (const PieceId id : ids) {
        const Piece piece = checkpoint.pieces().at(id);
        if (volumeOf(piece.region) != 0)
            out.push_back({piece.region, id, checkpoint.stream(piece.source.stream).kind == Stream::Kind::Missing});
    }
    return out;
}

// How many more runs than parts there are; more than `most` as any number beyond.
std::uint64_t brokenRuns(std::span<const Part> parts, ShapeView units, std::uint64_t most)
{
    std::uint64_t out = 0;
    for (const Part& part : parts)
        if (const auto* box = std::get_if<BoxView>(&part.region))
            out += std::min(runCountOf(*box, units) - 1, most + 1);
    return out;
}

// The runs of all parts, ascending by begin, missing ones last among equals.
std::vector<Run> sortedRuns(std::span<const Part> parts, ShapeView units)
{
    std::vector<Run> runs;
    runs.reserve(parts.size());
    for (const Part& part : parts) {
        if (const auto* flat = std::get_if<FlatRange>(&part.region))
            runs.push_back({*flat, part.piece, part.missing});
        else
            forEachRun(std::get<BoxView>(part.region), units, [&](FlatRange range) { runs.push_back({range, part.piece, part.missing}); });
    }
    std::sort(runs.begin(), runs.end(), [](const Run& a, const Run& b) {
        return a.range.begin != b.range.begin ? a.range.begin < b.range.begin : a.missing < b.missing;
    });
    return runs;
}

// Lists holes in ascending order, each cut where the missing file that should have held it changes. One pass over the missing runs serves all holes.
class HoleList {
public:
    HoleList(Coverage& out, std::vector<Run> missing, std::size_t limit) : m_out(out), m_missing(std::move(missing)), m_limit(limit) {}

    void add(FlatRange range)
    {
        if (range.empty())
            return;
        m_out.missingCells += range.size();
        std::uint64_t at = range.begin;
        while (m_next < m_missing.size() && m_missing[m_next].range.end <= at)
            ++m_next;
        for (std::size_t i = m_next; i < m_missing.size() && m_missing[i].range.begin < range.end; ++i) {
            const FlatRange common = intersect(m_missing[i].range, FlatRange{at, range.end});
            if (common.empty())
                continue;
            append({at, common.begin}, std::nullopt);
            append(common, m_missing[i].piece);
            at = common.end;
        }
        append({at, range.end}, std::nullopt);
    }

private:
    void append(FlatRange range, std::optional<PieceId> expected)
    {
        if (!range.empty() && m_out.holes.size() < m_limit)
            m_out.holes.push_back({range, expected});
    }

    Coverage& m_out;
    std::vector<Run> m_missing; // ascending by begin
    std::size_t m_next = 0;     // the first that may reach beyond the last hole
    std::size_t m_limit;
};

// Adds what is not covered by `runs`, and what is more than once.
void sweep(const std::vector<Run>& runs, std::uint64_t cells, std::size_t limit, Coverage& out)
{
    std::vector<Run> missing;
    std::copy_if(runs.begin(), runs.end(), std::back_inserter(missing), [](const Run& run) { return run.missing; });
    HoleList holes(out, std::move(missing), limit);
    std::uint64_t covered = 0;
    std::optional<Run> widest; // the present run that reaches furthest so far
    for (const Run& run : runs) {
        if (run.missing)
            continue;
        if (run.range.begin > covered)
            holes.add({covered, run.range.begin});
        else if (widest && run.range.begin < widest->range.end && run.piece != widest->piece) {
            ++out.overlappingPairs;
            if (out.overlaps.size() < limit)
                out.overlaps.push_back({widest->piece, run.piece, intersect(widest->range, run.range)});
        }
        if (run.range.end > covered) {
            covered = run.range.end;
            widest = run;
        }
    }
    holes.add({covered, cells});
}

// A box for every box, and some for every flat range. The boxes of flat ranges live in `made`.
std::vector<BoxPart> boxesOf(std::span<const Part> parts, ShapeView units, std::deque<Box>& made)
{
    std::vector<BoxPart> out;
    out.reserve(parts.size());
    for (const Part& part : parts) {
        if (const auto* box = std::get_if<BoxView>(&part.region))
            out.push_back({*box, part.piece, part.missing});
        else
            forEachBox(std::get<FlatRange>(part.region), units, [&](const Box& box) { out.push_back({made.emplace_back(box), part.piece, part.missing}); });
    }
    return out;
}

// Counts and lists by bands of rows in which the same boxes hold the same columns: what is listed are boxes then.
class BandSweep {
public:
    BandSweep(std::size_t limit, std::uint64_t runsKept) : m_limit(limit), m_runsKept(runsKept) {}

    // Of boxes in a space of `units`; false where it would take too long.
    [[nodiscard]] bool sweepBoxes(std::span<const BoxPart> boxes, ShapeView units, Coverage& out)
    {
        std::vector<Part> parts;
        parts.reserve(boxes.size());
        for (const BoxPart& one : boxes)
            parts.push_back({one.box, one.piece, one.missing});
        const std::uint64_t broken = brokenRuns(parts, units, m_runsKept);
        m_steps += parts.size() + std::min(broken, m_runsKept);
        if (m_steps > kMostSteps)
            return false;
        if (broken <= m_runsKept) {
            sweep(sortedRuns(parts, units), elementCount(units).value_or(0), m_limit, out);
            return true;
        }
        return sweepRows(boxes, units, out);
    }

private:
    [[nodiscard]] bool sweepRows(std::span<const BoxPart> unsorted, ShapeView units, Coverage& out)
    {
        std::vector<BoxPart> boxes(unsorted.begin(), unsorted.end());
        std::stable_sort(boxes.begin(), boxes.end(), [](const BoxPart& a, const BoxPart& b) { return a.box.offset[0] < b.box.offset[0]; });
        std::set<std::uint64_t> borders{0, units[0]};
        for (const BoxPart& one : boxes)
            borders.insert({one.box.offset[0], one.box.offset[0] + one.box.extent[0]});
        std::vector<BoxPart> open;
        std::vector<BoxPart> columns;
        auto next = boxes.begin();
        for (auto at = borders.begin(); std::next(at) != borders.end(); ++at) {
            const FlatRange rows{*at, *std::next(at)};
            std::erase_if(open, [&](const BoxPart& one) { return one.box.offset[0] + one.box.extent[0] <= rows.begin; });
            for (; next != boxes.end() && next->box.offset[0] == rows.begin; ++next)
                open.push_back(*next);
            columns.clear();
            for (const BoxPart& one : open)
                columns.push_back({{one.box.offset.subspan(1), one.box.extent.subspan(1)}, one.piece, one.missing});
            Coverage band;
            if (!sweepBoxes(columns, units.subspan(1), band))
                return false;
            addBand(band, rows, units.subspan(1), out);
        }
        return true;
    }

    void addBand(const Coverage& band, FlatRange rows, ShapeView columns, Coverage& out) const
    {
        out.missingCells += band.missingCells * rows.size();
        out.overlappingPairs += band.overlappingPairs - band.overlaps.size();
        const auto forEachOf = [&](const Region& region, const auto& add) {
            const auto visit = [&](const Box& box) {
                Box made{{rows.begin}, {rows.size()}};
                made.offset.insert(made.offset.end(), box.offset.begin(), box.offset.end());
                made.extent.insert(made.extent.end(), box.extent.begin(), box.extent.end());
                add(std::move(made));
            };
            if (const auto* box = std::get_if<Box>(&region))
                visit(*box);
            else
                forEachBox(std::get<FlatRange>(region), columns, visit);
        };
        for (const Hole& hole : band.holes)
            forEachOf(hole.region, [&](Box box) {
                if (out.holes.size() < m_limit)
                    out.holes.push_back({std::move(box), hole.expected});
            });
        for (const Overlap& overlap : band.overlaps)
            forEachOf(overlap.region, [&](Box box) {
                ++out.overlappingPairs;
                if (out.overlaps.size() < m_limit)
                    out.overlaps.push_back({overlap.first, overlap.second, std::move(box)});
            });
    }

    std::size_t m_limit;
    std::uint64_t m_runsKept;
    std::uint64_t m_steps = 0;
};

std::optional<std::uint32_t> tensorRankOf(const Checkpoint& checkpoint, HolderId holder)
{
    for (const Holder::Coordinate& one : checkpoint.holder(holder).coordinates)
        if (one.axis == Axis::Tp)
            return one.index;
    return std::nullopt;
}

} // namespace

std::vector<std::vector<PieceId>> summandsOf(const Checkpoint& checkpoint, TensorId tensor)
{
    const PieceStore& pieces = checkpoint.pieces();
    std::vector<PieceId> all;
    all.reserve(pieces.countOf(tensor));
    for (std::size_t row = pieces.firstOf(tensor); row < pieces.lastOf(tensor); ++row)
        all.push_back(idAt<PieceId>(row));
    std::vector<std::vector<PieceId>> out;
    if (checkpoint.tensor(tensor).combine != Combine::Average || all.empty()) {
        out.push_back(std::move(all));
        return out;
    }
    std::map<std::optional<std::uint32_t>, std::vector<PieceId>> byRank;
    for (const PieceId id : all)
        byRank[tensorRankOf(checkpoint, pieces.at(id).holder)].push_back(id);
    for (auto& [rank, ids] : byRank)
        out.push_back(std::move(ids));
    return out;
}

Coverage coverageOf(const Checkpoint& checkpoint, TensorId tensor, std::size_t limit, std::uint64_t runsKept)
{
    const Tensor& owner = checkpoint.tensor(tensor);
    const Shape units = unitShape(owner.shape, owner.dtype);
    const std::uint64_t cells = elementCount(units).value_or(0);
    Coverage out;
    for (const std::vector<PieceId>& ids : summandsOf(checkpoint, tensor)) {
        if (const PieceBands bands = bandsOf(checkpoint, ids, units); bands.complete && !bands.overlaps)
            continue;
        const std::vector<Part> parts = partsOf(checkpoint, ids);
        if (brokenRuns(parts, units, runsKept) <= runsKept) {
            sweep(sortedRuns(parts, units), cells, limit, out);
            continue;
        }
        std::deque<Box> made;
        if (!BandSweep(limit, runsKept).sweepBoxes(boxesOf(parts, units, made), units, out)) {
            out.scattered = true;
            return out;
        }
    }
    return out;
}

} // namespace shardlens
