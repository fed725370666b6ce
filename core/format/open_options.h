#pragma once

#include <optional>
#include <string>

namespace shardlens {

// How a checkpoint is to be read, where that is a matter of choice.
struct OpenOptions {
    std::optional<std::string> tag;       // of a DeepSpeed root
    std::optional<std::string> moduleKey; // SDLoader: the key of the model in each file, or "none" where the file is the model
    std::optional<std::string> rules;     // id or file of the rules that say how tensor-parallel ranks divide a parameter (core/layout/rule_library.h)
};


} // namespace shardlens
