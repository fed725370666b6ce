#pragma once

#include "core/base/result.h"
#include "core/format/target.h"
#include "core/model/checkpoint_builder.h"

#include <optional>
#include <string>
#include <vector>

namespace shardlens::mindspore {

// An entry of a file that is to be written.
struct OutputEntry {
    std::string name;
    TensorId tensor = kNoTensor;      // of the payload; kNoTensor: a text
    std::optional<std::string> text;
    std::string typeName;             // where it is not that of the tensor's dtype: "Int4", "random_op"
    std::optional<Shape> storedShape; // with it, where it is not the tensor's own
};

// The file that holds them in that order, or in safetensors' own. Refused: what the container has no place for, by name.
[[nodiscard]] Result<TargetFlatFile> ckptFile(const CheckpointBuilder& payload, const std::vector<OutputEntry>& entries);
// `entries` without texts.
[[nodiscard]] Result<TargetFlatFile> safetensorsFile(const CheckpointBuilder& payload, const std::vector<OutputEntry>& entries);

} // namespace shardlens::mindspore
