#include "core/analysis/value_spans.h"

#include <algorithm>

namespace shardlens {

void appendSpans(std::size_t item, std::uint64_t cells, std::uint64_t cellBytes, std::vector<ValueSpan>& out)
{
    const std::uint64_t step = kReadBytes / cellBytes * (kSpanBytes / kReadBytes);
    std::uint64_t at = 0;
    do {
        const std::uint64_t end = cells - at > step ? at + step : cells;
        out.push_back({item, at, end});
        at = end;
    } while (at < cells);
}

} // namespace shardlens
