#pragma once

#include "tests/support/torch_test_file.h"

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

// Directories as torch.distributed.checkpoint writes them (formats/pytorch.md §9), put together from parts so that a test can harm each of them.
namespace shardlens::test {

using Counts = std::vector<std::uint64_t>;

// ---- objects of `.metadata`, of the classes of the current release ----

[[nodiscard]] Py dcpObject(const std::string& name, std::vector<std::pair<std::string, Py>> attributes);
[[nodiscard]] Py dcpChunk(const Counts& offset, const Counts& extent);
[[nodiscard]] Py dcpTensor(const std::string& dtype, const Counts& shape, std::vector<Py> chunks);
[[nodiscard]] Py dcpBytes();
// A key of storage_data; without `offset` that of an object.
[[nodiscard]] Py dcpIndex(const std::string& fqn, const std::optional<Counts>& offset = {}, std::optional<std::int64_t> index = {});
[[nodiscard]] Py dcpPlace(const std::string& file, std::int64_t offset, std::int64_t length, std::vector<Py> transforms = {});
[[nodiscard]] Py dcpPath(const std::vector<Py>& steps);
[[nodiscard]] Py dcpMetadata(Py entries, Py paths, std::vector<PyItem> storage, std::vector<std::pair<std::string, Py>> more = {});

// ---- items ----

// An archive with these records under the root "archive", stored, with checksums, data at multiples of 64.
struct ArchiveRecord {
    std::string name;
    std::string data;
    bool isDeflated = false; // as one stored block
};
[[nodiscard]] std::string zipOfRecords(const std::vector<ArchiveRecord>& records);

struct ItemForm {
    bool isOld = false;       // before PyTorch 2.7: no .format_version, no .storage_alignment
    bool isBigEndian = false; // the record byteorder says so; `values` are that already
    bool isDeflated = false;  // repacked by another zip program
    bool pickleLast = false;  // data.pkl behind the storage
    Counts strides{};         // elements; empty: dense
};
// `values`: bytes of the storage.
[[nodiscard]] std::string tensorItem(const std::string& storageClass, std::uint64_t elementBytes, const Counts& shape, const std::string& values, const ItemForm& form = {});
[[nodiscard]] std::string floatItem(const Counts& shape, const std::vector<float>& values, const ItemForm& form = {});
[[nodiscard]] std::string objectItem(const Py& value, const std::vector<std::string>& storages = {}, bool isBigEndian = false);
[[nodiscard]] std::string bytesOfFloatsLe(const std::vector<float>& values);
// The values of a box of a float tensor, both row-major.
[[nodiscard]] std::vector<float> boxOf(const std::vector<float>& values, const Counts& shape, const Counts& offset, const Counts& extent);

// ---- directories ----

struct DcpTestChunk {
    Counts offset;
    Counts extent;
    std::size_t file = 0; // of DcpTestSave::files
    std::string item;
    std::optional<std::pair<std::int64_t, std::int64_t>> place{}; // offset and length that the metadata say; nothing: the truth
    bool isStored = true;  // whether storage_data has it
    bool isListed = true;  // whether the tensor's chunks have it
};

struct DcpTestEntry {
    std::vector<Py> path;
    std::string dtype = "float32";
    Counts shape{};
    std::vector<DcpTestChunk> chunks{}; // of an object: one, with no box
    bool isObject = false;

    [[nodiscard]] std::string key() const; // the path joined with "."
};

struct DcpTestSave {
    std::vector<std::string> files{"__0_0.distcp"};
    std::vector<DcpTestEntry> entries;
    bool hasPaths = true;
    bool hasHints = true; // MetadataIndex.index
    std::size_t gap = 0;  // bytes between items

    // A tensor whose values count up from `first`, cut into boxes: offset, extent and file of each.
    struct Cut {
        Counts offset;
        Counts extent;
        std::size_t file = 0;
    };
    DcpTestEntry& addFloats(const std::vector<Py>& path, const Counts& shape, float first, const std::vector<Cut>& cuts, const ItemForm& form = {});
    // One chunk, all of it, in the first file.
    DcpTestEntry& addWhole(const std::vector<Py>& path, const Counts& shape, float first);
    DcpTestEntry& addObject(const std::vector<Py>& path, const Py& value, std::size_t file = 0);
    [[nodiscard]] DcpTestEntry& entry(std::string_view key);

    // The pickle that goes with the items' places, and what the data files hold.
    [[nodiscard]] Py metadata() const;
    [[nodiscard]] std::vector<std::string> dataFiles() const;
    // Writes all into a folder, which is made. `metadataName`: "__1.metadata" where each rank has its own.
    void write(const std::string& folder, const std::string& metadataName = ".metadata") const;
};

void writeBytesTo(const std::string& path, const std::string& bytes);

} // namespace shardlens::test
