#pragma once

#include "core/model/checkpoint.h"

#include <optional>
#include <string>
#include <vector>

namespace shardlens {

// Something beside tensors that two checkpoints hold differently: an argument, a counter, a setting.
struct ArgumentDiff {
    std::string place;            // "ds_config/fp16/enabled"
    std::optional<std::string> a; // as text; nothing where only the other has it
    std::optional<std::string> b;
};

// The metadata of all files of a checkpoint as one tree (of equal places the first file's counts), compared place by place in A's order. What only one side
// has is one entry, not one for everything in it. Tensors and what holds nothing else are left out.
[[nodiscard]] std::vector<ArgumentDiff> differingArguments(const Checkpoint& a, const Checkpoint& b);

} // namespace shardlens
