#pragma once

#include "core/base/result.h"
#include "core/model/checkpoint.h"

#include <vector>

namespace shardlens {

// A checkpoint in which the parts of each quantized weight are replaced by its values, in the dtype that the library gives which wrote them
// (conformance/quantization/README.md, `--dequantize`). Reads shapes and states. Refused where nothing is quantized, and for a weight that cannot be taken apart.
[[nodiscard]] Result<CheckpointPtr> dequantizedView(const CheckpointPtr& checkpoint);

// An error for each quantized weight whose parts contradict each other, an info for one that is not read: dequantizedView() would refuse both. Reads what is small.
// Weights that the checkpoint's own findings name are left out.
[[nodiscard]] std::vector<Finding> checkStoredWeights(const CheckpointPtr& checkpoint);

} // namespace shardlens
