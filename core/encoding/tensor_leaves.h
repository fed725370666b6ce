#pragma once

#include "core/encoding/torch_file.h"

#include <functional>
#include <string>
#include <vector>

namespace shardlens {

// A tensor or plain number of a tree, with its path: dictionary keys by str(), list indices, attribute names (conformance/README.md, "Trees").
struct TreeLeaf {
    std::string name;   // path joined with '.'
    std::string branch; // first part of the path; empty at the root
    pickle::Value value;
    bool isAttribute = false; // TorchScript: neither parameter nor buffer of its module
};

// Every tensor below `root`, in the order of the file. Modules count as their state_dict. Cycles end where they close; LimitExceeded beyond
// 128 levels, 16 containers or 64 values met for each node of the pickle, keys of 64 KiB or 256 MiB of names.
// `script`: the archive whose code tells the state of modules from their other attributes; null where there is none.
[[nodiscard]] Result<std::vector<TreeLeaf>> tensorLeavesOf(pickle::Value root, const JobContext& job, const TorchFile* script = nullptr);
// str(key) as Python gives it for text, numbers and None.
[[nodiscard]] std::string keyText(pickle::Value key);

} // namespace shardlens
