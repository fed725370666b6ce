#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>

namespace shardlens {

// How a checkpoint is to be read, where that is a matter of choice.
struct OpenOptions {
    std::optional<std::string> tag{};       // of a DeepSpeed root; of MindSpore's rank folders an epoch and step, "10_5", or a file's name without rank and ending
    std::optional<std::string> moduleKey{}; // SDLoader: the key of the model in each file, or "none" where the file is the model
    std::optional<std::string> rules{};     // id or file of the rules that say how tensor-parallel ranks divide a parameter (core/layout/rule_library.h)
    std::optional<std::string> sourceStrategy{}; // MindSpore: the strategy file of the run, or the folder of its stages' files
    std::map<std::uint32_t, std::string> rankFiles{}; // MindSpore: the files of some ranks, where they are not in their folders

    bool dequantize = false; // weights that are stored quantized stand for their values (core/quantized/dequantized_view.h)

    auto operator<=>(const OpenOptions&) const = default;
};

} // namespace shardlens
