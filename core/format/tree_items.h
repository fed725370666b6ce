#pragma once

#include "core/format/target.h"

namespace shardlens {

// The tree of a torch file that is to be written (Format::keepTree), flattened into a DCP directory as torch's own planner flattens it (formats/pytorch.md §9.3):
// dictionaries are descended into, lists where they hold tensors or dictionaries, everything else is an object of its own. Refused: a tree that is no
// dictionary, keys that come out alike, big-endian storages.
[[nodiscard]] Result<Target> treeAsItems(Target tree, std::uint32_t writers, JobContext& job);

} // namespace shardlens
