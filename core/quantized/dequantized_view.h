#pragma once

#include "core/base/result.h"
#include "core/model/checkpoint.h"

namespace shardlens {

// A checkpoint in which the parts of each quantized weight are replaced by its values, in the dtype that the library gives which wrote them
// (conformance/quantization/README.md, `--dequantize`). Reads shapes and states. Refused where nothing is quantized, and for a weight that cannot be taken apart.
[[nodiscard]] Result<CheckpointPtr> dequantizedView(const CheckpointPtr& checkpoint);

} // namespace shardlens
