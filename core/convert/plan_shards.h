#pragma once

#include "core/convert/plan_tensors.h"

#include <optional>
#include <string>
#include <vector>

namespace shardlens {

// What goes into one file: positions in the list of output tensors, in its order.
using Shard = std::vector<std::size_t>;

// Hugging Face's split (formats/safetensors.md §5.3): shards of at most `maxBytes`, a larger tensor alone in one that comes before the shard that was open.
// With `tiedTogether` an alias takes no room and goes into the shard of its tensor; else it counts as a tensor of its own.
[[nodiscard]] std::vector<Shard> splitIntoShards(const std::vector<OutputTensor>& tensors, std::uint64_t maxBytes, bool tiedTogether);

// "model.safetensors", or "model-00001-of-00003.safetensors": `index` counts from 0.
[[nodiscard]] std::string shardName(const std::string& stem, const std::string& extension, std::size_t index, std::size_t count);

// The index of a sharded folder: names and files sorted, two spaces, a final newline.
[[nodiscard]] std::string indexText(const std::vector<OutputTensor>& tensors, const std::vector<Shard>& shards, const std::vector<std::string>& fileNames,
                                    bool tiedTogether);

} // namespace shardlens
