#pragma once

#include "core/format/deepspeed/run.h"

namespace shardlens::deepspeed {

// Masters and optimizer states of ZeRO-1, ZeRO-2 and BF16_Optimizer: flat groups cut into equal parts (formats/deepspeed.md §6). The masters become
// Weight tensors. Expects run.groups, run.world, run.optimizers and the parameters of the module in their order.
Status addFlatGroups(Run& run);
// The optimizer state of a group on a rank, rigid or elastic (formats/deepspeed.md §5.2); absent where there is none.
[[nodiscard]] pickle::Value flatGroupState(const Run& run, std::uint32_t rank, std::size_t group);
// Elements between the parameters of a group (param_alignment_paddings, §6.1); zero where the key is not there.
[[nodiscard]] std::vector<std::uint64_t> alignmentPaddings(const Run& run, std::size_t group);

} // namespace shardlens::deepspeed
