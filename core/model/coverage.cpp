#include "core/model/coverage.h"

#include "core/model/box_sweep.h"
#include "core/model/piece_bands.h"
#include "core/model/run_sweep.h"

#include <algorithm>
#include <deque>
#include <map>
#include <span>

namespace shardlens {
namespace {

struct Part {
    RegionView region;
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

std::vector<HeldRun> runsOf(std::span<const Part> parts, ShapeView units)
{
    std::vector<HeldRun> out;
    out.reserve(parts.size());
    for (const Part& part : parts) {
        if (const auto* flat = std::get_if<FlatRange>(&part.region))
            out.push_back({*flat, part.piece, part.missing});
        else
            forEachRun(std::get<BoxView>(part.region), units, [&](FlatRange range) { out.push_back({range, part.piece, part.missing}); });
    }
    return out;
}

bool sweepBoxes(std::span<const Part> parts, ShapeView units, std::size_t limit, Coverage& out)
{
    std::deque<Box> made;
    std::vector<BoxPart> boxes;
    for (const Part& part : parts)
        addBoxes(part.region, part.piece, part.missing, units, made, boxes);
    return BoxSweep(limit).sweep(boxes, units, out);
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
            sweepRuns(runsOf(parts, units), cells, limit, out);
        } else if (!sweepBoxes(parts, units, limit, out)) {
            return {{{FlatRange{0, cells}, std::nullopt}}, {}, cells, 0, true};
        }
    }
    return out;
}

} // namespace shardlens
