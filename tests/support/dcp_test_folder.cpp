#include "tests/support/dcp_test_folder.h"

#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <map>

namespace shardlens::test {
namespace {

constexpr const char* kMetadataModule = "torch.distributed.checkpoint.metadata";
constexpr const char* kFilesModule = "torch.distributed.checkpoint.filesystem";

Py object(const char* module, const char* name, std::vector<std::pair<std::string, Py>> attributes)
{
    return Py{Py::Object{{module, name}, {}, {pyDict(std::move(attributes))}}};
}

std::string bytesOf(const std::string& path)
{
    std::ifstream file(path, std::ios::binary);
    return {std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
}

// The parts of the metadata that grow with every item.
struct Index {
    Py::Dict entries;
    Py::Dict storage;
    std::map<std::string, std::string> files; // by name: their bytes
};

void addItem(Index& index, Py key, const std::string& file, const std::string& item)
{
    std::string& bytes = index.files[file];
    const Py place = object(kFilesModule, "_StorageInfo",
                            {{"relative_path", Py{file}}, {"offset", Py{static_cast<std::int64_t>(bytes.size())}}, {"length", Py{static_cast<std::int64_t>(item.size())}}});
    index.storage.items.emplace_back(std::move(key), place);
    bytes += item;
}

std::string itemOf(const std::string& scratch, const Py& root, const std::vector<TestStorage>& storages)
{
    writeTorchFile(scratch, root, storages);
    return bytesOf(scratch);
}

void addTensor(Index& index, const DcpTestFolder::Tensor& tensor, const std::string& scratch)
{
    std::vector<Py> chunks;
    for (const DcpTestFolder::Chunk& chunk : tensor.chunks) {
        chunks.push_back(object(kMetadataModule, "ChunkStorageMetadata", {{"offsets", pySize(chunk.offset)}, {"sizes", pySize(chunk.extent)}}));
        const TestStorage storage{chunk.values.size() * sizeof(float), [&chunk](std::uint64_t offset, std::span<std::byte> out) {
                                      if (!out.empty())
                                          std::memcpy(out.data(), reinterpret_cast<const std::byte*>(chunk.values.data()) + offset, out.size());
                                  }};
        const std::string item = itemOf(scratch, Py{Py::Tensor{"FloatStorage", 0, chunk.values.size(), 0, chunk.extent, {}}}, {storage});
        const Py key = object(kMetadataModule, "MetadataIndex", {{"fqn", Py{tensor.key}}, {"index", Py{static_cast<std::int64_t>(chunks.size() - 1)}}, {"offset", pySize(chunk.offset)}});
        addItem(index, key, "__" + std::to_string(chunk.writer) + "_0.distcp", item);
    }
    const Py properties{Py::Object{{kMetadataModule, "TensorProperties"}, {}, {Py{Py::Tuple{{Py{Py::Global{"torch", "float32"}}, Py{Py::None{}}, Py{false}, Py{Py::None{}}, Py{false}}}}}}};
    index.entries.items.emplace_back(Py{tensor.key}, object(kMetadataModule, "TensorStorageMetadata", {{"properties", properties}, {"size", pySize(tensor.shape)}, {"chunks", Py{std::move(chunks)}}}));
}

} // namespace

void DcpTestFolder::write(const std::string& folder) const
{
    std::filesystem::create_directories(folder);
    const std::string scratch = folder + "/item";
    Index index;
    for (const Object& one : objects) {
        index.entries.items.emplace_back(Py{one.key}, Py{Py::Object{{kMetadataModule, "BytesStorageMetadata"}, {}, {}}});
        addItem(index, object(kMetadataModule, "MetadataIndex", {{"fqn", Py{one.key}}, {"index", Py{Py::None{}}}}), "__0_0.distcp", itemOf(scratch, one.value, {}));
    }
    for (const Tensor& tensor : tensors)
        addTensor(index, tensor, scratch);
    std::filesystem::remove(scratch);
    for (const auto& [name, bytes] : index.files)
        std::ofstream(folder + "/" + name, std::ios::binary) << bytes;
    std::vector<std::pair<std::string, Py>> attributes{{"state_dict_metadata", Py{std::move(index.entries)}}, {"planner_data", pyDict({})}, {"storage_data", Py{std::move(index.storage)}}};
    if (!flattened.empty()) {
        std::vector<std::pair<std::string, Py>> shapes;
        for (const auto& [key, shape] : flattened)
            shapes.emplace_back(key, pyDict({{"nd_reformulated_orig_global_shape", pySize(shape)}}));
        attributes.emplace_back("mcore_data", pyDict(std::move(shapes)));
    }
    std::ofstream(folder + "/.metadata", std::ios::binary) << pickled(object(kMetadataModule, "Metadata", std::move(attributes)));
}

} // namespace shardlens::test
