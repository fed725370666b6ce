#pragma once

#include "core/base/result.h"
#include "core/io/byte_source.h"

#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace shardlens {

// The index of a sharded Hugging Face model: which file holds which tensor (formats/safetensors.md §5.2).
struct HfIndex {
    std::vector<std::pair<std::string, std::string>> weightMap; // tensor → file, in file order
    std::vector<std::pair<std::string, std::string>> aliases;   // dropped tied name → kept name, from "metadata"
};

// Refused: no JSON, no weight_map, values that are no plain file names of `extension` beside the index (absolute paths, "..", folders, drive letters).
[[nodiscard]] Result<HfIndex> readHfIndex(const ByteSource& source, std::string_view extension);
// The same of MindSpore's param_name_map.json, which before 2.6 was the map itself (formats/mindspore.md §6.4).
[[nodiscard]] Result<HfIndex> readNameMap(const ByteSource& source, std::string_view extension);

// "model-00002-of-00005.safetensors" → base "model", 2 of 5.
struct ShardName {
    std::string base;
    std::uint32_t index = 0;
    std::uint32_t count = 0;
};
[[nodiscard]] std::optional<ShardName> shardNameOf(std::string_view fileName, std::string_view extension);

} // namespace shardlens
