#pragma once

#include "core/format/deepspeed/run.h"

namespace shardlens::deepspeed {

// ZeRO-1 of ≤ 0.3.16 (formats/deepspeed.md §6.6): a group's vector is interval-major, then by rank.
Status addLegacyGroups(Run& run);
// Names for files without param_shapes: the trainable candidates of `module` in order, if their elements fill the groups exactly; else run.groups stays empty.
void recoverLegacyShapes(Run& run);

} // namespace shardlens::deepspeed
