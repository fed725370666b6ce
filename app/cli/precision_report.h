#pragma once

#include "app/cli/console.h"
#include "app/cli/json_answer.h"
#include "core/quantized/precision.h"

#include <vector>

namespace shardlens::cli {

// What a conversion does to values: as a member of the plan's JSON (docs/json.md), and for people the worst tensors with an advice.
[[nodiscard]] Json precisionJson(const std::vector<TensorPrecision>& tensors);
void printPrecision(Console& console, const std::vector<TensorPrecision>& tensors);

} // namespace shardlens::cli
