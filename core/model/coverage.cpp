#include "core/model/coverage.h"

#include "core/model/piece_bands.h"

#include <algorithm>
#include <iterator>
#include <map>
#include <span>

namespace shardlens {
namespace {

struct Run {
    FlatRange range;
    PieceId piece;
    bool missing;
};

// The runs of all pieces, ascending by begin, missing ones last among equals.
std::vector<Run> sortedRuns(const Checkpoint& checkpoint, std::span<const PieceId> ids, ShapeView units)
{
    std::vector<Run> runs;
    runs.reserve(ids.size());
    for (const PieceId id : ids) {
        const Piece piece = checkpoint.pieces().at(id);
        const bool missing = checkpoint.stream(piece.source.stream).kind == Stream::Kind::Missing;
        if (const auto* flat = std::get_if<FlatRange>(&piece.region)) {
            if (!flat->empty())
                runs.push_back({*flat, piece.id, missing});
        } else {
            forEachRun(std::get<BoxView>(piece.region), units, [&](FlatRange range) { runs.push_back({range, piece.id, missing}); });
        }
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

Coverage coverageOf(const Checkpoint& checkpoint, TensorId tensor, std::size_t limit)
{
    const Tensor& owner = checkpoint.tensor(tensor);
    const Shape units = unitShape(owner.shape, owner.dtype);
    const std::uint64_t cells = elementCount(units).value_or(0);
    Coverage out;
    for (const std::vector<PieceId>& ids : summandsOf(checkpoint, tensor)) {
        if (const PieceBands bands = bandsOf(checkpoint, ids, units); bands.complete && !bands.overlaps)
            continue;
        sweep(sortedRuns(checkpoint, ids, units), cells, limit, out);
    }
    return out;
}

} // namespace shardlens
