#include "core/format/torch_dist/container_writer.h"

#include "core/base/checked.h"
#include "core/encoding/torch_writer.h"

#include <fmt/format.h>

#include <algorithm>

namespace shardlens::torch_dist {
namespace {

constexpr std::uint64_t kLeastRowsBytes = 1u << 20; // what is smaller is not cut

Result<std::uint64_t> lengthOf(const TargetDcpItem& item)
{
    std::vector<std::uint64_t> sizes;
    for (const TargetStorage& storage : item.storages)
        sizes.push_back(storage.sizeBytes);
    return dcpItemBytes(item.pickle.size(), sizes);
}

} // namespace

ContainerWriter::ContainerWriter(std::uint32_t writers, std::string folder) : m_folder(std::move(folder)), m_tensors(writers), m_bytes(writers, 0) {}

void ContainerWriter::addObject(std::string key, TargetDcpItem item)
{
    m_objects.emplace_back(std::move(key), std::move(item));
}

std::uint32_t ContainerWriter::leastWriter() const
{
    return static_cast<std::uint32_t>(std::min_element(m_bytes.begin(), m_bytes.end()) - m_bytes.begin());
}

// Most chunks of a container have one of few shapes.
Result<std::vector<std::byte>> ContainerWriter::pickleOf(DType dtype, const Shape& shape)
{
    const auto known = m_pickles.find({dtype, shape});
    if (known != m_pickles.end())
        return known->second;
    SHARDLENS_ASSIGN(std::vector<std::byte> made, tensorPickle(dtype, shape));
    m_pickles.emplace(std::pair(dtype, shape), made);
    return made;
}

Status ContainerWriter::addChunk(Entry& entry, std::uint32_t writer, Box box, const std::vector<CellRun>& runs)
{
    const std::uint64_t cell = info(entry.dtype).bytesPerBlock;
    const std::uint64_t values = elementCount(box.extent).value_or(0);
    TargetDcpItem item;
    SHARDLENS_ASSIGN(item.pickle, pickleOf(entry.dtype, box.extent));
    TargetStorage storage{values * cell, {}};
    std::uint64_t begin = 0; // of the run, in the layer's values
    for (const CellRun& run : runs) {
        const std::uint64_t from = std::max(begin, box.firstValue);
        const std::uint64_t to = std::min(begin + run.values, box.firstValue + values);
        if (from < to)
            storage.runs.push_back({run.tensor, entry.dtype, run.firstValue + from - begin, to - from, (from - box.firstValue) * cell});
        begin += run.values;
    }
    item.storages.push_back(std::move(storage));
    m_bytes[writer] += values * cell;
    entry.chunks.push_back({writer, std::move(box.offset), std::move(box.extent), m_tensors[writer].size()});
    m_tensors[writer].push_back(std::move(item));
    return {};
}

Status ContainerWriter::addTensor(const TargetKey& key)
{
    const std::uint64_t writers = m_tensors.size();
    m_entries.push_back({key.key, key.dtype, key.shape, {}});
    Entry& entry = m_entries.back();
    if (key.stacksLayers) {
        Box box{Shape(key.shape.size(), 0), key.shape, 0};
        box.extent[0] = 1;
        for (std::uint64_t layer = 0; layer < key.layers.size(); ++layer) {
            box.offset[0] = layer;
            SHARDLENS_TRY(addChunk(entry, static_cast<std::uint32_t>(layer * writers / key.layers.size()), box, key.layers[layer]));
        }
        return {};
    }
    const std::uint64_t values = elementCount(key.shape).value_or(0);
    const std::uint64_t rows = key.shape.empty() ? 1 : key.shape[0];
    if (writers == 1 || key.shape.empty() || values * info(key.dtype).bytesPerBlock < kLeastRowsBytes)
        return addChunk(entry, leastWriter(), {Shape(key.shape.size(), 0), key.shape, 0}, key.layers.front());
    const std::uint64_t step = ceilDiv(rows, writers);
    for (std::uint64_t writer = 0; writer * step < rows; ++writer) {
        Box box{Shape(key.shape.size(), 0), key.shape, values / rows * writer * step};
        box.offset[0] = writer * step;
        box.extent[0] = std::min(step, rows - writer * step);
        SHARDLENS_TRY(addChunk(entry, static_cast<std::uint32_t>(writer), std::move(box), key.layers.front()));
    }
    return {};
}

Status ContainerWriter::finish(Target& out) &&
{
    std::vector<std::string> names;
    for (std::size_t writer = 0; writer < m_tensors.size(); ++writer)
        names.push_back(fmt::format("__{}_0.distcp", writer));
    DcpMetadataWriter index(names);
    std::uint64_t at = 0;
    for (const auto& [key, item] : m_objects) {
        SHARDLENS_ASSIGN(const std::uint64_t length, lengthOf(item));
        index.addObject({{key, {}}}, {0, 0, at, length});
        at += length;
    }
    std::vector<std::vector<DcpItem>> places(m_tensors.size());
    for (std::uint32_t writer = 0; writer < m_tensors.size(); ++writer) {
        std::uint64_t end = writer == 0 ? at : 0;
        for (const TargetDcpItem& item : m_tensors[writer]) {
            SHARDLENS_ASSIGN(const std::uint64_t length, lengthOf(item));
            places[writer].push_back({writer, 0, end, length});
            end += length;
        }
    }
    for (const Entry& entry : m_entries) {
        index.addTensor({{entry.key, {}}}, entry.dtype, entry.shape);
        for (const Chunk& chunk : entry.chunks)
            index.addChunk(chunk.offset, chunk.extent, places[chunk.writer][chunk.item]);
    }
    for (std::uint32_t writer = 0; writer < m_tensors.size(); ++writer) {
        TargetDcpFile file{fmt::format("{}/{}", m_folder, names[writer]), {}, m_tensors[writer].size(), writer};
        if (writer == 0)
            for (auto& [key, item] : m_objects)
                file.items.push_back(std::move(item));
        std::move(m_tensors[writer].begin(), m_tensors[writer].end(), std::back_inserter(file.items));
        if (!file.items.empty())
            out.dcpFiles.push_back(std::move(file));
    }
    SHARDLENS_ASSIGN(std::vector<std::byte> bytes, std::move(index).finish());
    out.bytesFiles.push_back({m_folder + "/.metadata", std::move(bytes)});
    return {};
}

} // namespace shardlens::torch_dist
