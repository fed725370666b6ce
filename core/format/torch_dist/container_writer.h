#pragma once

#include "core/encoding/dcp_writer.h"
#include "core/format/target.h"
#include "core/format/torch_dist/target_stacks.h"

#include <cstdint>
#include <map>
#include <string>
#include <utility>
#include <vector>

namespace shardlens::torch_dist {

// Lays tensors and objects out over the data files of as many writers, and makes the index of them. Layers go to the writers in order, as pipeline stages
// do, one chunk a layer; the rest is cut along its first axis. Objects come first, and lie in the first writer's file.
class ContainerWriter {
public:
    ContainerWriter(std::uint32_t writers, std::string folder);

    void addObject(std::string key, TargetDcpItem item);
    Status addTensor(const TargetKey& key);
    // Files below the folder, and the index.
    Status finish(Target& out) &&;

private:
    struct Chunk {
        std::uint32_t writer = 0;
        Shape offset;
        Shape extent;
        std::size_t item = 0; // of the writer's tensors
    };
    struct Entry {
        std::string key;
        DType dtype{};
        Shape shape;
        std::vector<Chunk> chunks;
    };
    struct Box {
        Shape offset;
        Shape extent;
        std::uint64_t firstValue = 0; // of the layer's values
    };
    Status addChunk(Entry& entry, std::uint32_t writer, Box box, const std::vector<CellRun>& runs);
    [[nodiscard]] Result<std::vector<std::byte>> pickleOf(DType dtype, const Shape& shape);
    [[nodiscard]] std::uint32_t leastWriter() const;

    std::string m_folder;
    std::vector<std::pair<std::string, TargetDcpItem>> m_objects;
    std::vector<Entry> m_entries;
    std::vector<std::vector<TargetDcpItem>> m_tensors; // by writer
    std::vector<std::uint64_t> m_bytes;                // by writer
    std::map<std::pair<DType, Shape>, std::vector<std::byte>> m_pickles;
};

} // namespace shardlens::torch_dist
