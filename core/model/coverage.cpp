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

void addHole(Coverage& out, FlatRange range, const std::vector<Run>& missing, std::size_t limit)
{
    if (range.empty())
        return;
    out.missingCells += range.size();
    // Cut the hole where the missing file that should have held it changes.
    std::uint64_t at = range.begin;
    for (const Run& run : missing) {
        const FlatRange common = intersect(run.range, FlatRange{at, range.end});
        if (common.empty())
            continue;
        if (common.begin > at && out.holes.size() < limit)
            out.holes.push_back({FlatRange{at, common.begin}, std::nullopt});
        if (out.holes.size() < limit)
            out.holes.push_back({common, run.piece});
        at = common.end;
    }
    if (at < range.end && out.holes.size() < limit)
        out.holes.push_back({FlatRange{at, range.end}, std::nullopt});
}

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
    std::uint64_t covered = 0;
    std::optional<Run> widest; // the present run that reaches furthest so far
    for (const Run& run : runs) {
        if (run.missing)
            continue;
        if (run.range.begin > covered)
            addHole(out, {covered, run.range.begin}, missing, limit);
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
    addHole(out, {covered, cells}, missing, limit);
    return out;
}

} // namespace shardlens
