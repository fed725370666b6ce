#include "core/model/coverage.h"

#include <algorithm>

namespace shardlens {
namespace {

struct Run {
    FlatRange range;
    PieceId piece;
    bool missing;
};

// The runs of all pieces, ascending by begin, missing ones last among equals.
std::vector<Run> sortedRuns(const Checkpoint& checkpoint, TensorId tensor, ShapeView units)
{
    const PieceStore& pieces = checkpoint.pieces();
    std::vector<Run> runs;
    runs.reserve(pieces.countOf(tensor));
    for (std::size_t row = pieces.firstOf(tensor); row < pieces.lastOf(tensor); ++row) {
        const Piece piece = pieces.at(idAt<PieceId>(row));
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

} // namespace

Coverage coverageOf(const Checkpoint& checkpoint, TensorId tensor, std::size_t limit)
{
    const Tensor& owner = checkpoint.tensor(tensor);
    const Shape units = unitShape(owner.shape, owner.dtype);
    const std::uint64_t cells = elementCount(units).value_or(0);
    const std::vector<Run> runs = sortedRuns(checkpoint, tensor, units);
    std::vector<Run> missing;
    std::copy_if(runs.begin(), runs.end(), std::back_inserter(missing), [](const Run& run) { return run.missing; });

    Coverage out;
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
    return out;
}

} // namespace shardlens
