#pragma once

#include "core/model/checkpoint.h"

#include <string>

namespace shardlens::cli {

// An SVG of one tensor to scale: rows down, the last axis across, every piece in the colour of its rank, holes hatched.
// A tensor of one axis is a strip; leading axes are stacked. At most a few thousand boxes are drawn; the rest is said in the picture.
[[nodiscard]] std::string pieceSvg(const Checkpoint& checkpoint, TensorId tensor);

} // namespace shardlens::cli
