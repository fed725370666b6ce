#include "core/encoding/dcp_writer.h"

#include "core/base/checked.h"
#include "core/encoding/pickle/emitter.h"
#include "core/encoding/torch_zip_layout.h"

#include <fmt/format.h>

#include <algorithm>

namespace shardlens {
namespace {

using pickle::Value;

constexpr const char* kMetadataModule = "torch.distributed.checkpoint.metadata";
constexpr const char* kFilesModule = "torch.distributed.checkpoint.filesystem";

std::string joined(const std::vector<DcpStep>& path)
{
    std::string out;
    for (const DcpStep& step : path)
        out += (out.empty() && &step == path.data() ? "" : ".") + step.key;
    return out;
}

} // namespace

Result<std::uint64_t> dcpItemBytes(std::uint64_t pickleBytes, std::span<const std::uint64_t> storageBytes)
{
    SHARDLENS_ASSIGN(const TorchZipLayout layout, TorchZipLayout::layOut(std::string(kDcpItemRoot), torchSaveRecords(pickleBytes, storageBytes)));
    return layout.fileBytes();
}

std::vector<DcpRows> dealRows(std::span<const DcpRowCount> tensors, std::uint32_t writers)
{
    std::vector<DcpRows> out;
    std::vector<std::uint64_t> bytesOf(writers, 0);
    for (std::size_t i = 0; i < tensors.size(); ++i) {
        const auto& [rows, rowBytes, isCut] = tensors[i];
        const std::uint64_t step = std::max<std::uint64_t>(ceilDiv(rows, writers), 1);
        for (std::uint32_t writer = 0; isCut && writers > 1 && writer < writers && writer * step < rows; ++writer) {
            out.push_back({i, writer, writer * step, std::min((writer + 1) * step, rows)});
            bytesOf[writer] += (out.back().end - out.back().begin) * rowBytes;
        }
    }
    for (std::size_t i = 0; i < tensors.size(); ++i) {
        if (tensors[i].isCut && writers > 1 && tensors[i].rows > 0)
            continue;
        const auto writer = static_cast<std::uint32_t>(std::min_element(bytesOf.begin(), bytesOf.end()) - bytesOf.begin());
        out.push_back({i, writer, 0, tensors[i].rows});
        bytesOf[writer] += tensors[i].rows * tensors[i].rowBytes;
    }
    std::stable_sort(out.begin(), out.end(), [](const DcpRows& a, const DcpRows& b) { return a.tensor < b.tensor; });
    return out;
}

DcpMetadataWriter::DcpMetadataWriter(std::vector<std::string> files)
{
    for (const std::string& name : files)
        m_files.push_back(m_graph.text(name));
    m_entries = m_graph.dict();
    m_paths = m_graph.dict();
    m_storage = m_graph.dict();
}

void DcpMetadataWriter::count(std::string_view text)
{
    constexpr std::uint64_t kPrime = 0x100000001B3u;
    for (const char c : text)
        for (std::uint64_t& hash : m_hash)
            hash = (hash ^ static_cast<unsigned char>(c)) * kPrime;
    m_hash[1] ^= m_hash[0] >> 29;
}

Value DcpMetadataWriter::size(ShapeView numbers)
{
    std::vector<Value> items;
    for (const std::uint64_t number : numbers)
        items.push_back(m_graph.integer(static_cast<std::int64_t>(number)));
    return m_graph.call(m_graph.global("torch", "Size"), m_graph.tuple({m_graph.tuple(items)}));
}

Value DcpMetadataWriter::object(Value type, std::initializer_list<std::pair<const char*, Value>> attributes)
{
    const Value out = m_graph.newObject(type, m_graph.tuple({}));
    const Value state = m_graph.dict();
    for (const auto& [name, value] : attributes)
        m_graph.set(state, name, value);
    m_graph.build(out, state);
    return out;
}

Value DcpMetadataWriter::key(const std::vector<DcpStep>& path)
{
    const std::string text = joined(path);
    count(text);
    const Value out = m_graph.text(text);
    std::vector<Value> steps;
    for (const DcpStep& step : path)
        steps.push_back(step.index ? m_graph.integer(static_cast<std::int64_t>(*step.index)) : m_graph.text(step.key));
    m_graph.set(m_paths, out, m_graph.tuple(steps));
    return out;
}

Value DcpMetadataWriter::place(const DcpItem& item)
{
    count(fmt::format("{}+{}", item.offset, item.length));
    return object(m_graph.global(kFilesModule, "_StorageInfo"), {{"relative_path", m_files[item.file]},
                                                                {"offset", m_graph.integer(static_cast<std::int64_t>(item.offset))},
                                                                {"length", m_graph.integer(static_cast<std::int64_t>(item.length))}});
}

void DcpMetadataWriter::addTensor(const std::vector<DcpStep>& path, DType dtype, const Shape& units)
{
    m_key = key(path);
    m_chunks = m_graph.list();
    m_chunk = 0;
    const Value layout = m_graph.call(m_graph.global("torch.serialization", "_get_layout"), m_graph.tuple({m_graph.text("torch.strided")}));
    const Value memory = m_graph.call(m_graph.global(kMetadataModule, "_MEM_FORMAT_ENCODING"), m_graph.tuple({m_graph.integer(0)}));
    const Value properties = m_graph.newObject(m_graph.global(kMetadataModule, "TensorProperties"), m_graph.tuple({}));
    m_graph.build(properties, m_graph.tuple({m_graph.global("torch", info(dtype).torchName), layout, m_graph.boolean(false), memory, m_graph.boolean(false)}));
    m_graph.set(m_entries, m_key, object(m_graph.global(kMetadataModule, "TensorStorageMetadata"), {{"properties", properties}, {"size", size(units)}, {"chunks", m_chunks}}));
}

void DcpMetadataWriter::addChunk(ShapeView offset, ShapeView extent, const DcpItem& item)
{
    const Value at = size(offset);
    m_graph.append(m_chunks, object(m_graph.global(kMetadataModule, "ChunkStorageMetadata"), {{"offsets", at}, {"sizes", size(extent)}}));
    const Value index = object(m_graph.global(kMetadataModule, "MetadataIndex"), {{"fqn", m_key}, {"index", m_graph.integer(m_chunk++)}, {"offset", at}});
    m_graph.set(m_storage, index, place(item));
}

void DcpMetadataWriter::addObject(const std::vector<DcpStep>& path, const DcpItem& item)
{
    const Value name = key(path);
    m_graph.set(m_entries, name, m_graph.newObject(m_graph.global(kMetadataModule, "BytesStorageMetadata"), m_graph.tuple({})));
    m_graph.set(m_storage, object(m_graph.global(kMetadataModule, "MetadataIndex"), {{"fqn", name}, {"index", m_graph.none()}}), place(item)); // without offset (§9.2)
}

Result<std::vector<std::byte>> DcpMetadataWriter::finish() &&
{
    // a name for the save that depends on its content alone, in the form of a random UUID
    const std::string id = fmt::format("{:08x}-{:04x}-4{:03x}-a{:03x}-{:012x}", m_hash[0] >> 32, (m_hash[0] >> 16) & 0xFFFF, m_hash[0] & 0xFFF, m_hash[1] >> 52, m_hash[1] & 0xFFFFFFFFFFFFu);
    const Value meta = object(m_graph.global(kMetadataModule, "StorageMeta"),
                              {{"checkpoint_id", m_graph.none()}, {"save_id", m_graph.text(id)}, {"load_id", m_graph.none()}, {"modules", m_graph.list()}});
    const Value root = object(m_graph.global(kMetadataModule, "Metadata"), {{"state_dict_metadata", m_entries},
                                                                             {"planner_data", m_paths},
                                                                             {"storage_data", m_storage},
                                                                             {"storage_meta", meta},
                                                                             {"version", m_graph.text("1.0.0")}});
    const auto graph = std::move(m_graph).finish(root);
    return pickle::emitPickle(graph->root());
}

} // namespace shardlens
