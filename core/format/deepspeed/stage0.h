#pragma once

#include "core/format/deepspeed/module_states.h"
#include "core/format/deepspeed/run.h"

namespace shardlens::deepspeed {

// Optimizer states that lie inside the model file: no ZeRO (formats/deepspeed.md §5.1). Masters of FP16_Optimizer and of the unfused optimizers become
// Weight tensors and their parameters are named by matching them against the module bit by bit (samples of large ones); plain fp32 optimizers keep numbers.
// Returns the names that have a master. Call before addModule, so that module copies get their role.
[[nodiscard]] Result<std::set<std::string, std::less<>>> addStage0Optimizer(Run& run, const ModuleNames& names);

} // namespace shardlens::deepspeed
