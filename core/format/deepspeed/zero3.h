#pragma once

#include "core/format/deepspeed/run.h"

namespace shardlens::deepspeed {

// Masters and optimizer states of ZeRO-3: every parameter is cut on its own, sub-groups hold slots of ceil(N / W) elements (formats/deepspeed.md §7).
// NVMe-offloaded sub-groups are refused by name.
Status addSubGroups(Run& run);
// Frozen parameters: fragments in every rank's model file. Expects run.stage3Models.
Status addFrozenFragments(Run& run);

} // namespace shardlens::deepspeed
