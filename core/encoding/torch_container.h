#pragma once

#include "core/base/result.h"
#include "core/encoding/pickle/graph.h"
#include "core/encoding/torch_file.h"

#include <memory>
#include <string>
#include <unordered_map>
#include <vector>

namespace shardlens {

// What both containers of torch.save come down to: one pickle, and storages by key.
struct TorchContainer {
    bool isLegacy = false;
    bool bigEndian = false;
    std::shared_ptr<const pickle::Graph> graph;
    std::vector<TorchStorage> storages;
    std::unordered_map<std::string, std::size_t> storageByKey;
    std::vector<TorchNote> notes;
};

// The zip of PyTorch 1.6 and later (formats/pytorch.md §2).
[[nodiscard]] Result<TorchContainer> openTorchZip(std::shared_ptr<const ByteSource> source, JobContext& job);
// The stream of pickles before it, still written on request (§6.1).
[[nodiscard]] Result<TorchContainer> openTorchLegacy(std::shared_ptr<const ByteSource> source, JobContext& job);

} // namespace shardlens
