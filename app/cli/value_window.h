#pragma once

#include "core/base/result.h"
#include "core/encoding/tensor_reader.h"
#include "core/job/job_context.h"
#include "core/model/region.h"

#include <cstddef>
#include <functional>
#include <span>
#include <string_view>
#include <vector>

namespace shardlens::cli {

// A part of a tensor as somebody writes it: "0:4, -2:, 7, :". An axis given by one index is kept in the box and left out of shape().
struct Slice {
    Box box;
    std::vector<bool> isIndex;

    [[nodiscard]] Shape shape() const;
};

// Axes that the text leaves out are whole. Refused, with the axis, what is no slice, has a step, or reaches outside.
[[nodiscard]] Result<Slice> parseSlice(std::string_view text, ShapeView shape);
[[nodiscard]] Slice wholeOf(ShapeView shape);

// Hands the values of the box out in row-major order, at most 8 MiB at once. The dtype must have one value a block.
[[nodiscard]] Status forEachChunk(const TensorReader& reader, const Box& box, ShapeView shape, JobContext& job,
                                  const std::function<Status(std::span<const std::byte>)>& visit);

} // namespace shardlens::cli
