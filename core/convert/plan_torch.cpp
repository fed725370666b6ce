#include "core/convert/plan_files.h"

#include "core/base/endian.h"
#include "core/encoding/torch_writer.h"
#include "core/encoding/torch_zip_layout.h"
#include "core/io/checksum.h"

#include <algorithm>
#include <string_view>
#include <unordered_map>

namespace shardlens {
namespace {

// formats/pytorch.md §2.2: where things stand in a row of the central directory and in a data descriptor.
constexpr std::uint64_t kRowBytes = 46;
constexpr std::uint64_t kRowCrc = 16;
constexpr std::uint64_t kRowNameLength = 28;
constexpr std::uint64_t kRowExtraLength = 30;
constexpr std::uint64_t kDescriptorCrc = 4;

// A record whose bytes are known, or one that tensor `tensor` fills.
struct Content {
    std::vector<std::byte> bytes;
    std::size_t tensor = 0;
    bool isTensor = false;
};

struct Archive {
    std::vector<TorchRecord> records;
    std::vector<Content> contents; // one a record

    void add(std::string name, std::vector<std::byte> bytes)
    {
        records.push_back({std::move(name), bytes.size()});
        contents.push_back({std::move(bytes)});
    }
    void add(std::string name, std::string_view text)
    {
        const auto* bytes = reinterpret_cast<const std::byte*>(text.data());
        add(std::move(name), std::vector<std::byte>(bytes, bytes + text.size()));
    }
};

std::string rootOf(const std::string& fileName)
{
    const std::string stem = fileName.substr(0, fileName.find_last_of('.'));
    return stem.empty() ? "archive" : stem;
}

// The records that PyTorch writes now, in its order (formats/pytorch.md §2.1). `keys` numbers the storage of each tensor of the shard.
Result<Archive> archiveOf(const Checkpoint& source, const std::vector<OutputTensor>& tensors, const Shard& shard)
{
    Archive out;
    std::vector<StateDictEntry> entries;
    std::unordered_map<std::uint32_t, std::size_t> keys; // tied names share a storage
    std::vector<std::size_t> owners;
    for (const std::size_t i : shard) {
        const auto [key, isNew] = keys.try_emplace(static_cast<std::uint32_t>(tensors[i].source), keys.size());
        if (isNew)
            owners.push_back(i);
        entries.push_back({tensors[i].name, tensors[i].dtype, source.tensor(tensors[i].source).shape, key->second});
    }
    SHARDLENS_ASSIGN(auto pickle, stateDictPickle(entries));
    out.add("data.pkl", std::move(pickle));
    out.add(".format_version", "1");
    out.add(".storage_alignment", "64");
    out.add("byteorder", "little");
    for (std::size_t key = 0; key < owners.size(); ++key) {
        out.records.push_back({"data/" + std::to_string(key), tensors[owners[key]].sizeBytes});
        out.contents.push_back({{}, owners[key], true});
    }
    out.add("version", "3\n");
    out.add(".data/serialization_id", std::string(40, '0'));
    return out;
}

// Where the directory keeps the CRC of each record; `directory` is what closing() ends with.
std::vector<std::uint64_t> directoryChecksums(const BytesAt& directory, std::size_t records)
{
    std::vector<std::uint64_t> out;
    std::uint64_t row = 0;
    for (std::size_t i = 0; i < records; ++i) {
        out.push_back(directory.offset + row + kRowCrc);
        row += kRowBytes + loadLe16(directory.bytes.data() + row + kRowNameLength) + loadLe16(directory.bytes.data() + row + kRowExtraLength);
    }
    return out;
}

void addTensors(const std::vector<OutputTensor>& tensors, const Shard& shard, const Archive& archive, const TorchZipLayout& layout,
                const std::vector<std::uint64_t>& rows, PlannedFile& out)
{
    std::unordered_map<std::uint32_t, std::size_t> recordOf;
    for (std::size_t i = 0; i < archive.contents.size(); ++i)
        if (archive.contents[i].isTensor)
            recordOf[static_cast<std::uint32_t>(tensors[archive.contents[i].tensor].source)] = i;
    for (const std::size_t i : shard) {
        const OutputTensor& tensor = tensors[i];
        const std::size_t index = recordOf.at(static_cast<std::uint32_t>(tensor.source));
        const TorchRecord& record = layout.records()[index];
        const bool shares = archive.contents[index].tensor != i;
        PlannedTensor planned{tensor.name, tensor.source, tensor.dtype, record.dataOffset, tensor.sizeBytes, tensor.isAlias, shares, {}};
        if (!shares && record.sizeBytes != 0)
            planned.crcAt = {record.dataOffset + record.sizeBytes + kDescriptorCrc, rows[index]};
        out.tensors.push_back(std::move(planned));
    }
    std::stable_sort(out.tensors.begin(), out.tensors.end(), [](const PlannedTensor& a, const PlannedTensor& b) { return a.offset < b.offset; });
}

} // namespace

Result<PlannedFile> planTorchFile(const Checkpoint& source, const std::vector<OutputTensor>& tensors, const Shard& shard, const std::string& name)
{
    SHARDLENS_ASSIGN(const Archive archive, archiveOf(source, tensors, shard));
    SHARDLENS_ASSIGN(const TorchZipLayout layout, TorchZipLayout::layOut(rootOf(name), archive.records));
    PlannedFile out;
    out.container = PlannedFile::Container::TorchZip;
    out.sizeBytes = layout.fileBytes();
    std::vector<std::uint32_t> crcs;
    for (const Content& content : archive.contents)
        crcs.push_back(crc32Of(content.bytes)); // of tensors: 0 for now
    std::vector<BytesAt> literals = layout.headers();
    std::vector<BytesAt> closing = layout.closing(crcs);
    const std::vector<std::uint64_t> rows = directoryChecksums(closing.back(), archive.records.size());
    std::move(closing.begin(), closing.end(), std::back_inserter(literals));
    for (std::size_t i = 0; i < archive.contents.size(); ++i)
        if (!archive.contents[i].bytes.empty())
            literals.push_back({layout.records()[i].dataOffset, archive.contents[i].bytes});
    std::sort(literals.begin(), literals.end(), [](const BytesAt& a, const BytesAt& b) { return a.offset < b.offset; });
    for (BytesAt& literal : literals)
        out.literals.push_back({literal.offset, std::move(literal.bytes)});
    addTensors(tensors, shard, archive, layout, rows, out);
    return out;
}

} // namespace shardlens
