#pragma once

#include "core/numeric/cast.h"

namespace shardlens {

// The pairs that conversions are made of: F64, F32, BF16, F16 and the two FP8 types of safetensors among each other, but for F64 to and from anything but F32.
// False where the pair is another one; bit for bit what the plain loop gives, but for NaN's payload.
[[nodiscard]] bool castFast(DType from, const std::byte* source, DType to, std::byte* target, std::size_t values, CastCounts& counts);

} // namespace shardlens
