#include "core/encoding/replica_compare.h"

#include "core/base/text.h"
#include "core/model/coverage.h"

#include <fmt/format.h>

#include <algorithm>
#include <limits>
#include <map>

namespace shardlens {
namespace {

constexpr std::uint64_t kComparedCells = 1u << 18; // at a time

// The runs of a region inside `block`: never more than the block has cells.
std::vector<FlatRange> runsInside(FlatRange block, const Region& region, ShapeView units)
{
    if (const auto* range = std::get_if<FlatRange>(&region))
        return {intersect(*range, block)};
    std::vector<FlatRange> out;
    forEachBox(block, units, [&](const Box& part) {
        if (const Box common = intersect(BoxView(part), BoxView(std::get<Box>(region))); common.volume() != 0)
            forEachRun(common, units, [&](FlatRange run) { out.push_back(run); });
    });
    return out;
}

Result<std::optional<std::uint64_t>> firstDifference(const StreamSet& streams, TensorId tensor, const Overlap& overlap, JobContext& job)
{
    const Tensor& owner = streams.checkpoint().tensor(tensor);
    const std::uint64_t cell = info(owner.dtype).bytesPerBlock;
    const Shape units = unitShape(owner.shape, owner.dtype);
    const FlatRange outline = outlineOf(viewOf(overlap.region), units);
    std::vector<std::byte> a(std::min(kComparedCells, outline.size()) * cell);
    std::vector<std::byte> b(a.size());
    for (std::uint64_t at = outline.begin; at < outline.end; at += kComparedCells) {
        SHARDLENS_TRY(job.poll());
        const FlatRange block{at, std::min(outline.end, at + kComparedCells)};
        const std::vector<FlatRange> runs = runsInside(block, overlap.region, units);
        if (runs.empty())
            continue;
        SHARDLENS_TRY(readPiece(streams, tensor, overlap.first, block, std::span(a).first(block.size() * cell)));
        SHARDLENS_TRY(readPiece(streams, tensor, overlap.second, block, std::span(b).first(block.size() * cell)));
        for (const FlatRange run : runs) {
            const auto from = static_cast<std::ptrdiff_t>((run.begin - at) * cell);
            const auto to = static_cast<std::ptrdiff_t>((run.end - at) * cell);
            if (const auto differs = std::mismatch(a.begin() + from, a.begin() + to, b.begin() + from).first - a.begin(); differs < to)
                return std::optional(at + static_cast<std::uint64_t>(differs) / cell);
        }
    }
    return std::optional<std::uint64_t>{};
}

} // namespace

Result<std::optional<ReplicaDifference>> replicaDifference(const StreamSet& streams, TensorId tensor, JobContext& job)
{
    const Checkpoint& checkpoint = streams.checkpoint();
    const Coverage coverage = coverageOf(checkpoint, tensor, std::numeric_limits<std::size_t>::max());
    if (coverage.scattered)
        return Error{ErrorCode::LimitExceeded, scatteredText(checkpoint, tensor)};
    // Equal is transitive: where many hold one region, each is compared with the first of them, not with all others.
    std::map<Region, PieceId> firstOf;
    for (const Overlap& overlap : coverage.overlaps) {
        const auto [known, isNew] = firstOf.try_emplace(overlap.region, std::min(overlap.first, overlap.second));
        if (!isNew)
            known->second = std::min({known->second, overlap.first, overlap.second});
    }
    for (const Overlap& overlap : coverage.overlaps) {
        const PieceId first = firstOf.at(overlap.region);
        if (overlap.first != first && overlap.second != first)
            continue;
        SHARDLENS_ASSIGN(const auto differs, firstDifference(streams, tensor, overlap, job));
        if (differs)
            return std::optional(ReplicaDifference{overlap.first, overlap.second, *differs});
    }
    return std::optional<ReplicaDifference>();
}

std::string differenceText(const Checkpoint& checkpoint, TensorId tensor, const ReplicaDifference& difference)
{
    const auto place = [&](PieceId id) { return printable(checkpoint.file(checkpoint.stream(checkpoint.pieces().at(id).source.stream).file).name); };
    return fmt::format("{}: {} and {} should hold the same values and differ, first at element {}.", printable(checkpoint.fullName(tensor)), place(difference.first),
                       place(difference.second), groupedText(difference.element));
}

} // namespace shardlens
