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

// Reads two pieces side by side, and compares what both hold.
class PairOfPieces {
public:
    PairOfPieces(const StreamSet& streams, TensorId tensor, PieceId first, PieceId second, JobContext& job)
        : m_streams(streams), m_tensor(tensor), m_first(first), m_second(second), m_job(job), m_cell(info(streams.checkpoint().tensor(tensor).dtype).bytesPerBlock)
    {
    }

    // The first element of the region in which they differ.
    Result<std::optional<std::uint64_t>> firstDifference(const Region& region)
    {
        if (const auto* range = std::get_if<FlatRange>(&region)) {
            m_end = range->end;
            return compare(*range);
        }
        const Box& box = std::get<Box>(region);
        const Tensor& owner = m_streams.checkpoint().tensor(m_tensor);
        const Shape units = unitShape(owner.shape, owner.dtype);
        m_end = (box.offset[0] + box.extent[0]) * (elementCount(units).value_or(0) / units[0]);
        Box row = box;
        for (std::uint64_t at = 0; at < box.extent[0]; ++at) {
            row.offset[0] = box.offset[0] + at;
            row.extent[0] = 1;
            std::vector<FlatRange> runs;
            forEachRun(row, units, [&](FlatRange run) { runs.push_back(run); });
            for (const FlatRange run : runs) {
                SHARDLENS_ASSIGN(const auto difference, compare(run));
                if (difference)
                    return difference;
            }
        }
        return std::optional<std::uint64_t>{};
    }

private:
    Result<std::optional<std::uint64_t>> compare(FlatRange range)
    {
        while (!range.empty()) {
            if (range.begin < m_held.begin || range.begin >= m_held.end)
                SHARDLENS_TRY(readFrom(range.begin));
            const std::uint64_t end = std::min(range.end, m_held.end);
            const auto from = static_cast<std::ptrdiff_t>((range.begin - m_held.begin) * m_cell);
            const auto to = static_cast<std::ptrdiff_t>((end - m_held.begin) * m_cell);
            const auto differs = std::mismatch(m_a.begin() + from, m_a.begin() + to, m_b.begin() + from).first - m_a.begin();
            if (differs < to)
                return std::optional(m_held.begin + static_cast<std::uint64_t>(differs) / m_cell);
            range.begin = end;
        }
        return std::optional<std::uint64_t>{};
    }

    Status readFrom(std::uint64_t cell)
    {
        SHARDLENS_TRY(m_job.poll());
        m_held = {cell, std::min(cell + kComparedCells, m_end)};
        m_a.resize(m_held.size() * m_cell);
        m_b.resize(m_a.size());
        SHARDLENS_TRY(readPiece(m_streams, m_tensor, m_first, m_held, m_a));
        return readPiece(m_streams, m_tensor, m_second, m_held, m_b);
    }

    const StreamSet& m_streams;
    TensorId m_tensor;
    PieceId m_first;
    PieceId m_second;
    JobContext& m_job;
    std::uint64_t m_cell;
    std::uint64_t m_end = 0; // of the region
    FlatRange m_held;        // what the buffers hold, where the pieces have it
    std::vector<std::byte> m_a;
    std::vector<std::byte> m_b;
};

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
        SHARDLENS_ASSIGN(const auto differs, PairOfPieces(streams, tensor, overlap.first, overlap.second, job).firstDifference(overlap.region));
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
