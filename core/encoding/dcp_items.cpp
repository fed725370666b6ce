#include "core/encoding/dcp_items.h"

#include "core/base/endian.h"
#include "core/base/text.h"
#include "core/encoding/zip.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cstring>

namespace shardlens {
namespace {

constexpr std::uint64_t kHeadBytes = 1024; // torch's own archives begin their values at 704 B or before
constexpr std::size_t kMostKnown = 16;
constexpr std::size_t kMostBlobs = 64; // torch writes one a file; the header of each is read

bool isZip(std::span<const std::byte> head)
{
    return head.size() >= 4 && std::memcmp(head.data(), "PK\x03\x04", 4) == 0;
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

Result<std::shared_ptr<const TorchFile>> DcpDataFile::object(const DcpItem& item, JobContext& job) const
{
    SHARDLENS_TRY(checkInside(item));
    SHARDLENS_ASSIGN(TorchFile file, TorchFile::open(std::make_shared<const SliceSource>(m_source, item.offset, item.length), job));
    return std::make_shared<const TorchFile>(std::move(file));
}

Result<DcpTensor> DcpDataFile::parse(const DcpItem& item, std::span<const std::byte> head, JobContext& job)
{
    SHARDLENS_ASSIGN(const auto file, object(item, job));
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

Result<DcpTensor> DcpDataFile::tensor(const std::string& key, const DcpItem& item, JobContext& job)
{
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
