#pragma once

#include "core/model/dtype.h"

#include <cstddef>

namespace shardlens {

// Numbers that decodeValues() makes of one value: 2 for complex types (real, imaginary), 1 for all others.
[[nodiscard]] constexpr std::size_t numbersPerValue(DType dtype)
{
    return dtype == DType::C32 || dtype == DType::C64 || dtype == DType::C128 ? 2 : 1;
}

// Values as doubles, fast enough for whole files. Every dtype: blocks are taken apart (F4 low nibble first, F6 in little-endian bit order),
// quantized codes are their numbers, any byte but 0 is a true. Exact but for 64-bit integers beyond 2^53, which round.
// `source` holds `values` values, which must fill whole blocks; `target` has room for numbersPerValue() times as many.
void decodeValues(DType dtype, const std::byte* source, double* target, std::size_t values);

} // namespace shardlens
