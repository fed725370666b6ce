#pragma once

#include "core/encoding/torch_pieces.h"

#include <unordered_set>

namespace shardlens::torch {

// The optimizer of a training checkpoint: `state` → parameter → STATE becomes PARAMETER/STATE, parameters by number, or by name where the groups hold
// param_names or the keys are names. A list of one optimizer is that optimizer; of several their number comes first. Python numbers become I64 or F64.
// Returns the values that it took, so that nobody takes them again.
[[nodiscard]] Result<std::unordered_set<std::uint32_t>> addOptimizer(CheckpointBuilder& builder, FileId file, const TorchFile& torch, pickle::Value branch);

} // namespace shardlens::torch
