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

Result<std::optional<std::uint64_t>> firstDifference(const StreamSet& streams, TensorId tensor, const Overlap& overlap, JobContext& job)
{
    const std::uint64_t cell = info(streams.checkpoint().tensor(tensor).dtype).bytesPerBlock;
    const FlatRange range = std::get<FlatRange>(overlap.region);
    std::vector<std::byte> a(std::min(kComparedCells, range.size()) * cell);
    std::vector<std::byte> b(a.size());
    for (std::uint64_t at = range.begin; at < range.end; at += kComparedCells) {
        SHARDLENS_TRY(job.poll());
        const FlatRange part{at, std::min(range.end, at + kComparedCells)};
        SHARDLENS_TRY(readPiece(streams, tensor, overlap.first, part, std::span(a).first(part.size() * cell)));
        SHARDLENS_TRY(readPiece(streams, tensor, overlap.second, part, std::span(b).first(part.size() * cell)));
        const auto differs = std::mismatch(a.begin(), a.begin() + static_cast<std::ptrdiff_t>(part.size() * cell), b.begin()).first - a.begin();
        if (static_cast<std::uint64_t>(differs) < part.size() * cell)
            return std::optional(at + static_cast<std::uint64_t>(differs) / cell);
    }
    return std::optional<std::uint64_t>{};
}

} // namespace

Result<std::optional<ReplicaDifference>> replicaDifference(const StreamSet& streams, TensorId tensor, JobContext& job)
{
    const Checkpoint& checkpoint = streams.checkpoint();
    const Coverage coverage = coverageOf(checkpoint, tensor, std::numeric_limits<std::size_t>::max());
    // Equal is transitive: where many hold one region, each is compared with the first of them, not with all others.
    std::map<FlatRange, PieceId> firstOf;
    for (const Overlap& overlap : coverage.overlaps) {
        const auto [known, isNew] = firstOf.try_emplace(std::get<FlatRange>(overlap.region), std::min(overlap.first, overlap.second));
        if (!isNew)
            known->second = std::min({known->second, overlap.first, overlap.second});
    }
    for (const Overlap& overlap : coverage.overlaps) {
        const PieceId first = firstOf.at(std::get<FlatRange>(overlap.region));
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
