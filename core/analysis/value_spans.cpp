#include "core/analysis/value_spans.h"

#include <algorithm>

namespace shardlens {
namespace {

constexpr std::uint64_t kMostSpans = 1u << 17; // of one tensor: 2 TiB in spans of the usual size

} // namespace

std::uint64_t readBytesOf(const Checkpoint& checkpoint, TensorId tensor, std::uint64_t dense)
{
    const PieceStore& pieces = checkpoint.pieces();
    for (std::size_t row = pieces.firstOf(tensor); row < pieces.lastOf(tensor); ++row)
        if (!pieces.at(idAt<PieceId>(row)).source.strides.empty())
            return std::max(dense, kStridedReadBytes);
    return dense;
}

void appendSpans(std::size_t item, std::uint64_t cells, std::uint64_t cellBytes, std::vector<ValueSpan>& out)
{
    // A view may repeat its bytes without end: few large spans instead of an endless list.
    const std::uint64_t step = std::max(kSpanBytes / cellBytes, cells / kMostSpans + 1);
    std::uint64_t at = 0;
    do {
        const std::uint64_t end = cells - at > step ? at + step : cells;
        out.push_back({item, at, end});
        at = end;
    } while (at < cells);
}

} // namespace shardlens
