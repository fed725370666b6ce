#pragma once

#include "core/encoding/dcp_metadata.h"
#include "core/encoding/pickle/graph_builder.h"

#include <span>
#include <string>
#include <vector>

namespace shardlens {

constexpr std::string_view kDcpItemRoot = "archive"; // what torch.save calls an archive that it writes into a stream

// Bytes of an item: the archive that torch.save writes for a pickle of that size and storages of these sizes.
[[nodiscard]] Result<std::uint64_t> dcpItemBytes(std::uint64_t pickleBytes, std::span<const std::uint64_t> storageBytes);

// Rows of dimension 0 of a tensor that one writer stores.
struct DcpRows {
    std::size_t tensor = 0;
    std::uint32_t writer = 0;
    std::uint64_t begin = 0;
    std::uint64_t end = 0;
};
struct DcpRowCount {
    std::uint64_t rows = 1;     // 1 of a tensor without dimensions, and of an object
    std::uint64_t rowBytes = 0;
    bool isCut = false;         // whether writers share it
};
// Dimension 0 in pieces of ceil(rows / writers), as FSDP cuts (formats/pytorch.md §9.7); what is not cut goes to the writer with the fewest bytes so far (§9.5).
// In the order of the tensors.
[[nodiscard]] std::vector<DcpRows> dealRows(std::span<const DcpRowCount> tensors, std::uint32_t writers);

// Makes the `.metadata` of a DCP directory that is to be written (formats/pytorch.md §9.10): classes of the current release, which torch 2.3 and later load.
class DcpMetadataWriter {
public:
    // Names of the data files; items give their numbers.
    explicit DcpMetadataWriter(std::vector<std::string> files);

    // Keys must differ. `path`: the way to the value in the saved state; what it joins to is the key. `units` counts what torch counts (unitShape).
    void addTensor(const std::vector<DcpStep>& path, DType dtype, const Shape& units);
    // Of the tensor that was added last.
    void addChunk(ShapeView offset, ShapeView extent, const DcpItem& item);
    void addObject(const std::vector<DcpStep>& path, const DcpItem& item);

    [[nodiscard]] Result<std::vector<std::byte>> finish() &&;

private:
    pickle::Value size(ShapeView numbers);
    pickle::Value object(pickle::Value type, std::initializer_list<std::pair<const char*, pickle::Value>> attributes);
    pickle::Value key(const std::vector<DcpStep>& path);
    pickle::Value place(const DcpItem& item);
    void count(std::string_view text);

    pickle::GraphBuilder m_graph;
    std::vector<pickle::Value> m_files;
    pickle::Value m_entries;
    pickle::Value m_paths;
    pickle::Value m_storage;
    pickle::Value m_key;    // of the tensor added last
    pickle::Value m_chunks; // its list
    std::int64_t m_chunk = 0;
    std::uint64_t m_hash[2] = {0xCBF29CE484222325u, 0x84222325CBF29CE4u}; // of all that was added, for the save's id
};

} // namespace shardlens
