#pragma once

#include "core/base/result.h"
#include "core/encoding/pickle/graph.h"

#include <string>
#include <vector>

namespace shardlens {

// A tensor of a state dict, which may hold dictionaries in dictionaries: its keys joined with '.'.
struct StateDictTensor {
    std::string name;
    pickle::Value value; // TorchFile::isTensor
};

// In the order of the file. Values that are neither dictionaries nor tensors are passed over. LimitExceeded beyond 64 levels, names of 64 KiB, or 16
// values met for each value of the pickle (dictionaries that hold themselves).
[[nodiscard]] Result<std::vector<StateDictTensor>> stateDictOf(pickle::Value root);

} // namespace shardlens
