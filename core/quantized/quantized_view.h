#pragma once

#include "core/quantized/quantize_choice.h"

namespace shardlens {

// A checkpoint in which each chosen weight is replaced by the tensors that its scheme stores; nothing is read. Who reads them computes them.
[[nodiscard]] Result<CheckpointPtr> quantizedView(const CheckpointPtr& checkpoint, const QuantizeChoice& choice, const QuantizeOptions& options);

} // namespace shardlens
