#pragma once

#include "core/base/result.h"
#include "core/encoding/dcp_metadata.h"
#include "core/encoding/safetensors.h"
#include "core/encoding/torch_file.h"
#include "core/io/byte_source.h"

#include <memory>
#include <optional>
#include <string>
#include <unordered_map>
#include <vector>

namespace shardlens {

// A chunk of a tensor as its item holds it: a view on one storage, of which the place is that in the data file.
struct DcpTensor {
    TorchTensor tensor;   // its storage is `storage`
    TorchStorage storage;
};

// One data file of a DCP directory (formats/pytorch.md §9.4). Not for several threads at once: items with equal beginnings are parsed once.
class DcpDataFile {
public:
    explicit DcpDataFile(std::shared_ptr<const ByteSource> source) : m_source(std::move(source)) {}

    // `transforms`: what was done to items on writing (DcpMetadata::transforms); zstd is undone, anything else refused.
    // The tensor of an item: a torch.save archive, or an entry named `key` of the safetensors blob that begins there. Reads no value but those in
    // the first 64 KiB of a compressed item. Errors are fragments
    // without the file's name: Corrupt where the item leaves the file or is no tensor.
    [[nodiscard]] Result<DcpTensor> tensor(const std::string& key, const DcpItem& item, const std::vector<std::string>& transforms, JobContext& job);
    // An item as a torch file of its own; offsets of its storages count in the item.
    [[nodiscard]] Result<std::shared_ptr<const TorchFile>> object(const DcpItem& item, const std::vector<std::string>& transforms, JobContext& job) const;

private:
    // The beginning of an item, up to its values, and what it was found to say.
    struct Known {
        std::uint64_t length = 0;
        std::vector<std::byte> head;
        DcpTensor said; // offsets count in the item
    };

    Status checkInside(const DcpItem& item) const;
    [[nodiscard]] const Known* find(const DcpItem& item, std::span<const std::byte> head);
    // An entry of a safetensors blob by its name.
    struct Blob {
        SafetensorsHeader header;
        std::unordered_map<std::string, std::size_t> byName;
    };

    Result<DcpTensor> parse(const DcpItem& item, std::span<const std::byte> head, JobContext& job);
    Result<DcpTensor> compressed(const DcpItem& item, JobContext& job) const;
    [[nodiscard]] const Blob* blobAt(std::uint64_t offset);
    Result<DcpTensor> inBlob(const std::string& key, const DcpItem& item);

    std::shared_ptr<const ByteSource> m_source;
    std::vector<Known> m_known; // the last that fitted first
    std::unordered_map<std::uint64_t, std::optional<Blob>> m_blobs; // by offset; nothing where there is none
};

} // namespace shardlens
