#pragma once

#include "core/model/dtype.h"

#include <cstddef>
#include <cstdint>
#include <span>

namespace shardlens {

// What a cast lost.
struct CastCounts {
    std::uint64_t overflow = 0;  // finite values that became infinite (or NaN where the target has no infinity)
    std::uint64_t underflow = 0; // non-zero values that became zero
    std::uint64_t nonFinite = 0; // NaN and Inf in the source

    CastCounts& operator+=(const CastCounts& other);
};

// Whether castValues serves the pair: floating-point types of one value a block among each other (F64, F32, F16, BF16, F8 …).
[[nodiscard]] bool canCast(DType from, DType to);

// Rounds to nearest even, as torch's .to() does. `source` holds count values, `target` has room for count. NaN stays NaN, its bits are free.
// Precondition: canCast(from, to).
CastCounts castValues(DType from, const std::byte* source, DType to, std::byte* target, std::size_t count);

// One value as double, for display and statistics; bool and integers too. `at` points at the value's bytes. Not for block types.
[[nodiscard]] double toDouble(DType dtype, const std::byte* at);

} // namespace shardlens
