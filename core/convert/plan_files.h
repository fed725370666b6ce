#pragma once

#include "core/convert/plan_checks.h"
#include "core/convert/plan_shards.h"
#include "core/convert/plan_tensors.h"

#include <vector>

namespace shardlens {

// One file with a place for each of its tensors. `shard` lists positions in `tensors`.
[[nodiscard]] Result<PlannedFile> planSafetensorsFile(const Checkpoint& source, const std::vector<OutputTensor>& tensors, const Shard& shard);
[[nodiscard]] Result<PlannedFile> planTorchFile(const Checkpoint& source, const std::vector<OutputTensor>& tensors, const Shard& shard, const std::string& name);

} // namespace shardlens
