#include "core/encoding/dcp_items.h"

#include "core/base/endian.h"
#include "core/base/text.h"
#include "core/encoding/torch_rebuild.h"
#include "core/encoding/zip.h"
#include "core/encoding/zstd_stream.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cstring>

namespace shardlens {
namespace {

constexpr std::uint64_t kHeadBytes = 1024; // torch's own archives begin their values at 704 B or before
constexpr std::size_t kMostKnown = 16;
constexpr std::uint64_t kCompressedHeadBytes = 64u << 10;
constexpr std::uint64_t kLargestObject = 256u << 20;
constexpr std::uint64_t kMostStorageBytes = std::uint64_t{1} << 62;
constexpr std::string_view kLocalSignature("PK\x03\x04", 4);
constexpr std::size_t kMostBlobs = 64; // torch writes one a file; the header of each is read

bool isZip(std::span<const std::byte> head)
{
    return head.size() >= 4 && std::memcmp(head.data(), "PK\x03\x04", 4) == 0;
}

// The records behind the pickle of an item, by their local headers: only the names are of use there, sizes follow the data.
struct ItemRecords {
    std::optional<std::uint64_t> valuesAt;
    bool isBigEndian = false;
};

ItemRecords recordsBehind(const MemorySource& head, std::uint64_t at)
{
    ItemRecords out;
    std::vector<std::byte> bytes(head.size());
    if (!head.readAt(0, bytes))
        return out;
    const std::string_view text(reinterpret_cast<const char*>(bytes.data()), bytes.size());
    for (at = text.find(kLocalSignature, at); at != std::string_view::npos && !out.valuesAt; at = text.find(kLocalSignature, at + kLocalSignature.size())) {
        const auto header = readLocalHeader(head, at);
        if (!header)
            continue;
        if (header->name.ends_with("/data/0"))
            out.valuesAt = header->dataOffset;
        if (header->name.ends_with("/byteorder") && header->dataOffset < text.size())
            out.isBigEndian = text[header->dataOffset] == 'b';
    }
    return out;
}

// From the first cell of a view to behind its last.
std::uint64_t spannedBytes(const TorchTensor& tensor)
{
    const Shape units = unitShape(tensor.shape, tensor.dtype);
    if (elementCount(units).value_or(0) == 0)
        return 0;
    std::uint64_t out = info(tensor.dtype).bytesPerBlock;
    for (std::size_t axis = 0; axis < units.size(); ++axis)
        out += (units[axis] - 1) * static_cast<std::uint64_t>(tensor.strides[axis]);
    return out;
}

// "stream.zstd/1" is torch's; what others registered cannot be known.
Status checkTransforms(const std::vector<std::string>& transforms)
{
    if (transforms.empty() || (transforms.size() == 1 && transforms.front() == "stream.zstd/1"))
        return {};
    return Error{ErrorCode::Unsupported, fmt::format("it was transformed by {}, which is not undone; zstd (stream.zstd/1) is", printable(fmt::format("{}", fmt::join(transforms, ", "))))};
}

// What says how the values are to be read stands before them, as in all that torch writes.
bool isSaidBefore(const ByteSource& item, std::uint64_t values, const JobContext& job)
{
    const auto zip = ZipArchive::open(item, &job);
    return zip && std::ranges::none_of(zip->members(), [&](const ZipMember& member) {
        return member.headerOffset >= values && (member.name.ends_with("/data.pkl") || member.name.ends_with("/byteorder"));
    });
}

DcpTensor moved(const DcpTensor& said, std::uint64_t offset)
{
    DcpTensor out = said;
    if (!out.storage.decoded)
        out.storage.offset += offset;
    return out;
}

} // namespace

Status DcpDataFile::checkInside(const DcpItem& item) const
{
    if (item.offset <= m_source->size() && item.length <= m_source->size() - item.offset)
        return {};
    return Error{ErrorCode::Corrupt, fmt::format("the metadata say {} B at offset {}, and the file ends at {}", groupedText(item.length), groupedText(item.offset), groupedText(m_source->size()))};
}

const DcpDataFile::Known* DcpDataFile::find(const DcpItem& item, std::span<const std::byte> head)
{
    for (auto known = m_known.begin(); known != m_known.end(); ++known) {
        if (known->length != item.length || known->head.size() > head.size() || std::memcmp(known->head.data(), head.data(), known->head.size()) != 0)
            continue;
        std::rotate(m_known.begin(), known, known + 1);
        return &m_known.front();
    }
    return nullptr;
}

Result<std::shared_ptr<const TorchFile>> DcpDataFile::object(const DcpItem& item, const std::vector<std::string>& transforms, JobContext& job) const
{
    SHARDLENS_TRY(checkInside(item));
    SHARDLENS_TRY(checkTransforms(transforms));
    if (!transforms.empty()) {
        SHARDLENS_ASSIGN(std::vector<std::byte> plain, zstdPrefix(*m_source, item.offset, item.length, kLargestObject + 1));
        if (plain.size() > kLargestObject)
            return Error{ErrorCode::LimitExceeded, fmt::format("a compressed object of more than {}", sizeText(kLargestObject))};
        SHARDLENS_ASSIGN(TorchFile file, TorchFile::open(std::make_shared<const MemorySource>(std::move(plain)), job));
        return std::make_shared<const TorchFile>(std::move(file));
    }
    SHARDLENS_ASSIGN(TorchFile file, TorchFile::open(std::make_shared<const SliceSource>(m_source, item.offset, item.length), job));
    return std::make_shared<const TorchFile>(std::move(file));
}

Result<DcpTensor> DcpDataFile::parse(const DcpItem& item, std::span<const std::byte> head, JobContext& job)
{
    SHARDLENS_ASSIGN(const auto file, object(item, {}, job));
    if (!TorchFile::isTensor(file->root()))
        return Error{ErrorCode::Corrupt, fmt::format("the item at offset {} is no tensor", groupedText(item.offset))};
    SHARDLENS_ASSIGN(TorchTensor tensor, file->tensorOf(file->root()));
    if (tensor.noData)
        return Error{ErrorCode::Unsupported, "a meta tensor: described, not stored"};
    Known known{item.length, {}, {tensor, file->storages().at(tensor.storage)}};
    known.said.tensor.flags.bigEndian = known.said.tensor.flags.bigEndian || file->isBigEndian();
    const TorchStorage& storage = known.said.storage;
    const bool isPlain = !storage.deflated && !storage.decoded && storage.offset <= head.size();
    DcpTensor out = moved(known.said, item.offset);
    if (!isPlain || !isSaidBefore(SliceSource(m_source, item.offset, item.length), storage.offset, job))
        return out;
    known.head.assign(head.begin(), head.begin() + static_cast<std::ptrdiff_t>(storage.offset));
    if (m_known.size() == kMostKnown)
        m_known.pop_back();
    m_known.insert(m_known.begin(), std::move(known));
    return out;
}

const DcpDataFile::Blob* DcpDataFile::blobAt(std::uint64_t offset)
{
    const auto [known, isNew] = m_blobs.try_emplace(offset);
    std::optional<Blob>& blob = known->second;
    if (!isNew || m_blobs.size() > kMostBlobs)
        return blob ? &*blob : nullptr;
    auto header = readSafetensorsHeader(SliceSource(m_source, offset, m_source->size() - offset));
    if (!header)
        return nullptr;
    blob.emplace(Blob{header.take(), {}});
    for (std::size_t i = 0; i < blob->header.entries.size(); ++i)
        blob->byName.emplace(blob->header.entries[i].name, i);
    return &*blob;
}

// torch's serialization_format SAFETENSORS: the tensors of a file are one blob behind the byte items, and the length of an item means nothing.
Result<DcpTensor> DcpDataFile::inBlob(const std::string& key, const DcpItem& item)
{
    const Blob* const blob = blobAt(item.offset);
    if (blob == nullptr)
        return Error{ErrorCode::Corrupt, fmt::format("at offset {} there is neither a torch.save archive nor a safetensors header", groupedText(item.offset))};
    const SafetensorsHeader& header = blob->header;
    const auto number = blob->byName.find(key);
    if (number == blob->byName.end())
        return Error{ErrorCode::Corrupt, fmt::format("the safetensors blob at offset {} has no entry {}", groupedText(item.offset), printable(key))};
    const SafetensorsEntry* const entry = &header.entries[number->second];
    DcpTensor out;
    out.tensor.dtype = entry->dtype;
    out.tensor.shape = entry->shape;
    out.storage.offset = item.offset + header.dataOffset + entry->begin;
    out.storage.sizeBytes = out.storage.storedBytes = entry->end - entry->begin;
    return out;
}

// A tensor's item behind zstd: pickle and headers stand before the values, so that the beginning says where they are in the decoded bytes.
Result<DcpTensor> DcpDataFile::compressed(const DcpItem& item, JobContext& job) const
{
    SHARDLENS_TRY(checkInside(item));
    SHARDLENS_ASSIGN(std::vector<std::byte> plain, zstdPrefix(*m_source, item.offset, item.length, kCompressedHeadBytes));
    const MemorySource head(plain);
    SHARDLENS_ASSIGN(const ZipLocalHeader first, readLocalHeader(head, 0));
    if (!first.name.ends_with("/data.pkl") || first.method != 0)
        return Error{ErrorCode::Unsupported, "its first record is not the pickle"};
    TorchContainer container;
    SHARDLENS_ASSIGN(container.graph, pickle::Graph::parse(std::make_shared<const std::vector<std::byte>>(std::move(plain)), first.dataOffset, &job));
    const ItemRecords records = recordsBehind(head, container.graph->end());
    if (!records.valuesAt)
        return Error{ErrorCode::Unsupported, fmt::format("the values do not begin in the first {} of it", sizeText(kCompressedHeadBytes))};
    container.bigEndian = records.isBigEndian;
    container.storages.push_back({0, kMostStorageBytes, kMostStorageBytes, false, "data/0", nullptr}); // how long it is, only its end says
    container.storageByKey.emplace("0", 0);
    if (!isTensorCall(container.graph->root()))
        return Error{ErrorCode::Corrupt, "it is no tensor"};
    SHARDLENS_ASSIGN(TorchTensor tensor, rebuildTensor(container, container.graph->root()));
    tensor.offsetBytes += *records.valuesAt;
    DcpTensor out{std::move(tensor), {}};
    out.storage.offset = item.offset;
    out.storage.storedBytes = item.length;
    out.storage.sizeBytes = out.tensor.offsetBytes + spannedBytes(out.tensor);
    out.storage.deflated = out.storage.isZstd = true;
    return out;
}

Result<DcpTensor> DcpDataFile::tensor(const std::string& key, const DcpItem& item, const std::vector<std::string>& transforms, JobContext& job)
{
    SHARDLENS_TRY(checkTransforms(transforms));
    if (!transforms.empty())
        return compressed(item, job);
    std::array<std::byte, kHeadBytes> buffer{};
    if (item.offset > m_source->size())
        return checkInside(item).takeError();
    const std::span<std::byte> head = std::span(buffer).first(std::min<std::uint64_t>({kHeadBytes, m_source->size() - item.offset, std::max<std::uint64_t>(item.length, 9)}));
    SHARDLENS_TRY(m_source->readAt(item.offset, head));
    if (!isZip(head) && head.size() > 8 && head[8] == std::byte{'{'})
        return inBlob(key, item);
    SHARDLENS_TRY(checkInside(item));
    if (const Known* known = find(item, head); known != nullptr)
        return moved(known->said, item.offset);
    if (!isZip(head))
        return Error{ErrorCode::Corrupt, fmt::format("at offset {} there is no torch.save archive", groupedText(item.offset))};
    return parse(item, head, job);
}

} // namespace shardlens
