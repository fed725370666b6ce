#pragma once

#include "core/encoding/safetensors.h"

#include <optional>
#include <string>
#include <unordered_map>

namespace shardlens {

// Where the tensors of a safetensors file begin in the whole, by name.
using DcpOffsets = std::unordered_map<std::string, Shape>;

// What DCP_SHARDING_INFO among a file's metadata says (formats/pytorch.md §9.9); nothing where the file has none. Corrupt where it is no such object.
[[nodiscard]] Result<std::optional<DcpOffsets>> dcpShardingInfo(const SafetensorsHeader& header);

} // namespace shardlens
