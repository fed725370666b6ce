#pragma once

#include "core/format/deepspeed/run.h"

namespace shardlens::deepspeed {

// Fills run.groups from param_shapes, wherever this version of DeepSpeed put it (formats/deepspeed.md §3): a list of dictionaries in the model file,
// or a list or one dictionary in the optimizer files of 0.3.14 to 0.5.10. `groupLengths` are the elements that each flat group holds on all ranks
// together (0: unknown) and cut a single dictionary into groups. Empty where the checkpoint has no param_shapes.
Status readParameterShapes(Run& run);
// Cuts the one dictionary of old versions at group borders (formats/deepspeed.md §22): each group takes parameters until they fill its flat vector.
Status cutIntoGroups(Run& run, const std::vector<std::uint64_t>& groupLengths);

// A dictionary name → shape in its order.
[[nodiscard]] Result<ParameterGroup> groupOf(pickle::Value shapes);

} // namespace shardlens::deepspeed
