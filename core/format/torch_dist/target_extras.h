#pragma once

#include "core/format/torch_dist/target_source.h"
#include "core/format/torch_dist/target_stacks.h"

#include <string>
#include <vector>

namespace shardlens::torch_dist {

// Keys of the objects that the modules of `extras` keep, in the form of the tensors that are written: for every layer that has the module, or, where a module
// has no parameter of its own, what it lies in; for every expert of it (formats/megatron.md §6.6).
[[nodiscard]] std::vector<std::string> extraKeys(const std::set<ExtraPlace>& extras, const std::vector<TargetTensor>& tensors, const std::vector<TargetKey>& keys);

} // namespace shardlens::torch_dist
