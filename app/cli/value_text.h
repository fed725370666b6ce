#pragma once

#include "core/model/dtype.h"

#include <cstddef>
#include <span>
#include <string>
#include <vector>

namespace shardlens::cli {

// One value as text. `exact`: enough digits to read the same value back; else at most seven, for the eye. `at` points at little-endian bytes of
// a dtype with one value a block.
[[nodiscard]] std::string valueText(DType dtype, const std::byte* at, bool exact);

// How NumPy names the dtype in a .npy header; types that NumPy lacks (BF16, F8 …) are written as '<f4', which holds each of their values.
struct NumpyType {
    const char* descriptor;
    std::size_t bytes;
    bool widened; // the values are converted to float32
};
[[nodiscard]] NumpyType numpyType(DType dtype);
// The values as a .npy file has them after its header.
[[nodiscard]] std::vector<std::byte> numpyBytes(DType dtype, std::span<const std::byte> values);
// Magic, version 1.0 and the padded header.
[[nodiscard]] std::string numpyHeader(DType dtype, std::span<const std::uint64_t> shape);

} // namespace shardlens::cli
