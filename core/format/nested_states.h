#pragma once

#include "core/model/checkpoint_builder.h"

namespace shardlens {

// A warning where weights are named like states of an optimizer: a tree whose optimizer lies below another key than those that count as its branch
// (conformance/README.md, "Trees"), as `{"app": …}` of PyTorch's recipe or Lightning's `optimizer_0`. Call before finish().
void sayNestedStates(CheckpointBuilder& builder);

} // namespace shardlens
