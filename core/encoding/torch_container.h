#pragma once

#include "core/base/result.h"
#include "core/encoding/pickle/graph.h"
#include "core/encoding/torch_file.h"
#include "core/encoding/zip.h"

#include <memory>
#include <string>
#include <unordered_map>
#include <unordered_set>
#include <vector>

namespace shardlens {

// A storage that is a torch file inside the pickle.
struct TorchNestedStorage {
    TorchStoragePart part;
    bool readable = false; // else why not:
    std::string problem;
};

// Names of the attributes that a class of a TorchScript archive calls parameters and buffers.
using TorchScriptClasses = std::unordered_map<std::string, std::unordered_set<std::string>>; // by "module.Class"

// What all containers come down to: one pickle, and storages by key.
struct TorchContainer {
    TorchFile::Container kind = TorchFile::Container::Zip;
    bool bigEndian = false;
    std::optional<std::uint64_t> pickleOffset; // in the file, of the graph's input; empty where it is compressed
    std::shared_ptr<const pickle::Graph> graph;
    std::vector<TorchStorage> storages;
    std::unordered_map<std::string, std::size_t> storageByKey;
    std::unordered_map<std::uint32_t, TorchNestedStorage> nested; // by the node of the call
    TorchScriptClasses scriptClasses;
    std::vector<TorchNote> notes;
};

// What a container lies in. Inside a pickle it is a torch file that holds one storage, and is not looked into further.
enum class TorchInside : std::uint8_t { File, Pickle };

// The zip of PyTorch 1.6 and later (formats/pytorch.md §2), TorchScript included (§7).
[[nodiscard]] Result<TorchContainer> openTorchZip(std::shared_ptr<const ByteSource> source, TorchInside inside, JobContext& job);
// The stream of pickles before it, still written on request (§6.1), or a bare pickle.
[[nodiscard]] Result<TorchContainer> openTorchLegacy(std::shared_ptr<const ByteSource> source, TorchInside inside, JobContext& job);
// Looks into the torch files that the pickle holds as bytes: calls of torch.storage._load_from_bytes (§3.5). Storages are added at their place in `source`.
Status addNestedStorages(TorchContainer& container, const std::shared_ptr<const ByteSource>& source, JobContext& job);
// What the code of a TorchScript archive says of the classes that the pickle names (§7). `root`: "archive/".
Status addScriptClasses(TorchContainer& container, const ZipArchive& archive, const std::string& root, const JobContext& job);

} // namespace shardlens
