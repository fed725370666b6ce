#pragma once

#include <string_view>

namespace shardlens {

// Top-level keys of a training checkpoint's dictionary (conformance/README.md, "Trees").
[[nodiscard]] bool isModelBranch(std::string_view key);     // model, state_dict, model_state_dict
[[nodiscard]] bool isOptimizerBranch(std::string_view key); // optim, optimizer, optimizer_state_dict, optimizer_states

} // namespace shardlens
