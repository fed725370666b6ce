#pragma once

#include "core/model/dtype.h"

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

namespace shardlens {

using Shape = std::vector<std::uint64_t>;
using ShapeView = std::span<const std::uint64_t>;

// Number of values; nullopt where the product overflows. [] is one value.
[[nodiscard]] std::optional<std::uint64_t> elementCount(ShapeView shape);
// Distance between neighbours along each axis, in values, of a dense row-major tensor. `shape` must have a countable product.
[[nodiscard]] Shape rowMajorStrides(ShapeView shape);

// The place along each axis of value number `flat` in row-major order. Precondition: flat < elementCount(shape).
[[nodiscard]] Shape indexAt(std::uint64_t flat, ShapeView shape);

// The grid in which the bytes of a tensor are addressed: one cell a block of its dtype. For dtypes of one value a block it is `shape`;
// else the innermost extent is divided, and where it does not divide the tensor is one row of blocks. Values must fill whole blocks.
[[nodiscard]] Shape unitShape(ShapeView shape, DType dtype);

} // namespace shardlens
