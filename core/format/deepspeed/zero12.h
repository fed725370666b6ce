#pragma once

#include "core/format/deepspeed/run.h"

namespace shardlens::deepspeed {

// Masters and optimizer states of ZeRO-1, ZeRO-2 and BF16_Optimizer: flat groups cut into equal parts (formats/deepspeed.md §6). The masters become
// Weight tensors. Expects run.groups, run.world, run.optimizers and the parameters of the module in their order.
Status addFlatGroups(Run& run);

} // namespace shardlens::deepspeed
