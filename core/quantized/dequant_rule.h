#pragma once

#include "core/quantized/dequantized_weight.h"

namespace shardlens {

struct DequantPlan {
    DequantRule rule;
    Shape shape;
};

// What the parts of a stored weight say together; reads those that are small. Corrupt or Unsupported, as fragments, where they do not fit each other.
[[nodiscard]] Result<DequantPlan> planDequantization(const ValueReader& values, const Checkpoint& checkpoint, const StoredWeight& stored, const QuantizationConfig& config);

} // namespace shardlens
