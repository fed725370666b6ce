#pragma once

#include "core/numeric/cast.h"

namespace shardlens {

// The pairs that conversions are made of (F32 → BF16, F32 → F16, BF16 → F32, F16 → F32), vectorised and chosen at run time.
// False where the pair is another one; bit for bit what the plain loop gives, but for NaN's payload.
[[nodiscard]] bool castFast(DType from, const std::byte* source, DType to, std::byte* target, std::size_t values, CastCounts& counts);

} // namespace shardlens
