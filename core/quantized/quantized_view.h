#pragma once

#include "core/quantized/quantize_choice.h"
#include "core/quantized/quantized_weight.h"

#include <memory>
#include <vector>

namespace shardlens {

// The chosen weights as computations, in the choice's order.
[[nodiscard]] std::vector<std::shared_ptr<const QuantizedWeight>> quantizedWeights(const CheckpointPtr& checkpoint, const QuantizeChoice& choice, const QuantizeOptions& options);
// A checkpoint in which each chosen weight is replaced by the tensors that its scheme stores; nothing is read. Who reads them computes them.
[[nodiscard]] Result<CheckpointPtr> quantizedView(const CheckpointPtr& checkpoint, const QuantizeChoice& choice, const QuantizeOptions& options,
                                                  const std::vector<std::shared_ptr<const QuantizedWeight>>& weights);

} // namespace shardlens
