#pragma once

#include "core/base/result.h"
#include "core/format/target.h"
#include "core/model/shape.h"

#include <cstddef>
#include <optional>
#include <string>
#include <vector>

namespace shardlens::colossalai {

// An entry of a safetensors file that is written: a tensor of the payload, or bytes.
struct FlatEntry {
    std::string name;
    DType dtype{};
    Shape shape;
    TensorId tensor{};
    std::optional<std::vector<std::byte>> bytes;
};

// Tensors in the reference writer's order, or (keepOrder) as they come, bytes last. Refused: dtypes and names that safetensors cannot hold.
[[nodiscard]] Result<TargetFlatFile> safetensorsFile(std::vector<FlatEntry> entries, std::vector<std::pair<std::string, std::string>> metadata, bool keepOrder);
// Whether a container can hold values of a dtype: a fragment that says why not, or nothing.
[[nodiscard]] std::optional<std::string> foreignDType(const std::string& name, DType dtype, bool isSafetensors);

} // namespace shardlens::colossalai
