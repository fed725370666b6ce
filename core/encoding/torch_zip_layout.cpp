#include "core/encoding/torch_zip_layout.h"

#include "core/base/endian.h"
#include "core/base/text.h"

#include <fmt/format.h>

#include <algorithm>

namespace shardlens {
namespace {

constexpr std::uint64_t kMax32 = 0xFFFFFFFF;
constexpr std::uint64_t kAlignment = 64;
constexpr std::uint64_t kLocalBytes = 30;
constexpr std::uint64_t kRowBytes = 46;
constexpr std::uint64_t kTrailerBytes = 56 + 20 + 22;
constexpr std::uint16_t kFlagsWithDescriptor = 0x0808; // UTF-8 name, sizes follow the data
constexpr std::uint16_t kFlagsEmpty = 0x0800;
constexpr std::size_t kMaxNameBytes = 65'535;
constexpr std::uint64_t kSerializationIdBytes = 40;

// Little-endian fields, one after the other.
class Fields {
public:
    template <typename T>
    Fields& put(T value)
    {
        m_bytes.append(reinterpret_cast<const char*>(&value), sizeof(T)); // little-endian machines only: endian.h
        return *this;
    }
    Fields& text(std::string_view text)
    {
        m_bytes += text;
        return *this;
    }
    Fields& repeat(std::size_t count, char c)
    {
        m_bytes.append(count, c);
        return *this;
    }
    [[nodiscard]] std::vector<std::byte> take() const
    {
        const auto* begin = reinterpret_cast<const std::byte*>(m_bytes.data());
        return {begin, begin + m_bytes.size()};
    }
    [[nodiscard]] std::size_t size() const { return m_bytes.size(); }

private:
    std::string m_bytes;
};

std::uint16_t low16(std::uint64_t value)
{
    return static_cast<std::uint16_t>(value);
}

std::uint32_t capped32(std::uint64_t value)
{
    return static_cast<std::uint32_t>(std::min(value, kMax32));
}

bool isWide(const TorchRecord& record)
{
    return record.sizeBytes >= kMax32 || record.headerOffset >= kMax32;
}

// Bytes of the ZIP64 block of a local header; 0 without one.
std::uint64_t wideBytes(std::uint64_t size, std::uint64_t header)
{
    if (size < kMax32 && header < kMax32)
        return 0;
    return 4 + (size >= kMax32 ? 16u : 0u) + (header >= kMax32 ? 8u : 0u);
}

std::uint64_t paddingOf(std::uint64_t header, std::uint64_t nameBytes, std::uint64_t wide)
{
    const std::uint64_t start = header + kLocalBytes + nameBytes + 4 + wide;
    return (kAlignment - start % kAlignment) % kAlignment;
}

std::uint64_t descriptorBytes(const TorchRecord& record)
{
    return record.sizeBytes == 0 ? 0 : isWide(record) ? 24 : 16;
}

std::uint64_t rowBytes(const TorchRecord& record, std::size_t rootBytes)
{
    std::uint64_t extra = 0;
    if (isWide(record))
        extra = 4 + (record.sizeBytes >= kMax32 ? 16u : 0u) + (record.headerOffset >= kMax32 ? 8u : 0u);
    return kRowBytes + rootBytes + record.name.size() + extra;
}

std::vector<std::byte> localHeader(const std::string& name, const TorchRecord& record)
{
    const std::uint64_t wide = wideBytes(record.sizeBytes, record.headerOffset);
    const std::uint64_t padding = paddingOf(record.headerOffset, name.size(), wide);
    Fields out;
    out.put(std::uint32_t{0x04034B50}).put(std::uint16_t{0}).put(record.sizeBytes > 0 ? kFlagsWithDescriptor : kFlagsEmpty);
    out.put(std::uint16_t{0}).put(std::uint16_t{0}).put(std::uint16_t{0});          // method, time, date
    out.put(std::uint32_t{0}).put(std::uint32_t{0}).put(std::uint32_t{0});          // CRC and sizes stand in the descriptor, also for ZIP64
    out.put(low16(name.size())).put(low16(wide + 4 + padding)).text(name);
    if (wide > 0) {
        out.put(std::uint16_t{1}).put(low16(wide - 4));
        if (record.sizeBytes >= kMax32)
            out.put(record.sizeBytes).put(std::uint64_t{0});
        if (record.headerOffset >= kMax32)
            out.put(record.headerOffset);
    }
    out.text("FB").put(low16(padding)).repeat(padding, 'Z');
    return out.take();
}

std::vector<std::byte> descriptor(const TorchRecord& record, std::uint32_t crc)
{
    Fields out;
    out.put(std::uint32_t{0x08074B50}).put(crc);
    if (isWide(record))
        out.put(record.sizeBytes).put(record.sizeBytes);
    else
        out.put(capped32(record.sizeBytes)).put(capped32(record.sizeBytes));
    return out.take();
}

void putRow(Fields& out, const std::string& name, const TorchRecord& record, std::uint32_t crc)
{
    Fields extra;
    if (isWide(record)) {
        const std::uint64_t bytes = (record.sizeBytes >= kMax32 ? 16u : 0u) + (record.headerOffset >= kMax32 ? 8u : 0u);
        extra.put(std::uint16_t{1}).put(low16(bytes));
        if (record.sizeBytes >= kMax32)
            extra.put(record.sizeBytes).put(record.sizeBytes);
        if (record.headerOffset >= kMax32)
            extra.put(record.headerOffset);
    }
    const std::vector<std::byte> block = extra.take();
    out.put(std::uint32_t{0x02014B50}).put(std::uint16_t{0}).put(std::uint16_t{0}).put(record.sizeBytes > 0 ? kFlagsWithDescriptor : kFlagsEmpty);
    out.put(std::uint16_t{0}).put(std::uint16_t{0}).put(std::uint16_t{0});
    out.put(crc).put(capped32(record.sizeBytes)).put(capped32(record.sizeBytes));
    out.put(low16(name.size())).put(low16(block.size())).put(std::uint16_t{0}).put(std::uint16_t{0}).put(std::uint16_t{0}).put(std::uint32_t{0});
    out.put(capped32(record.headerOffset)).text(name).text({reinterpret_cast<const char*>(block.data()), block.size()});
}

} // namespace

std::vector<TorchRecord> torchSaveRecords(std::uint64_t pickleBytes, std::span<const std::uint64_t> storageBytes, bool bigEndian)
{
    std::vector<TorchRecord> out{{"data.pkl", pickleBytes}, {".format_version", 1}, {".storage_alignment", 2}, {"byteorder", bigEndian ? 3u : 6u}};
    for (std::size_t key = 0; key < storageBytes.size(); ++key)
        out.push_back({"data/" + std::to_string(key), storageBytes[key]});
    out.push_back({"version", 2});
    out.push_back({".data/serialization_id", kSerializationIdBytes});
    return out;
}

Result<TorchZipLayout> TorchZipLayout::layOut(std::string root, std::vector<TorchRecord> records)
{
    if (root.empty())
        return Error{ErrorCode::Refused, "a torch archive needs a name for its root"};
    TorchZipLayout out;
    out.m_root = std::move(root) + "/";
    std::uint64_t at = 0;
    for (TorchRecord& record : records) {
        const std::size_t nameBytes = out.m_root.size() + record.name.size();
        if (nameBytes > kMaxNameBytes)
            return Error{ErrorCode::Refused, fmt::format("a record's name of {} B, at most {} fit", nameBytes, kMaxNameBytes)};
        if (record.sizeBytes > (std::uint64_t{1} << 62) || at > (std::uint64_t{1} << 62))
            return Error{ErrorCode::Refused, "a torch archive beyond 2^62 B"};
        const std::uint64_t wide = wideBytes(record.sizeBytes, at);
        record.headerOffset = at;
        record.dataOffset = at + kLocalBytes + nameBytes + wide + 4 + paddingOf(at, nameBytes, wide);
        at = record.dataOffset + record.sizeBytes + descriptorBytes(record);
    }
    out.m_records = std::move(records);
    out.m_directoryOffset = at;
    for (const TorchRecord& record : out.m_records)
        at += rowBytes(record, out.m_root.size());
    out.m_fileBytes = at + kTrailerBytes;
    return out;
}

std::vector<BytesAt> TorchZipLayout::headers() const
{
    std::vector<BytesAt> out;
    for (const TorchRecord& record : m_records)
        out.push_back({record.headerOffset, localHeader(m_root + record.name, record)});
    return out;
}

std::vector<BytesAt> TorchZipLayout::closing(std::span<const std::uint32_t> crcs) const
{
    std::vector<BytesAt> out;
    Fields tail;
    for (std::size_t i = 0; i < m_records.size(); ++i) {
        const TorchRecord& record = m_records[i];
        if (record.sizeBytes > 0)
            out.push_back({record.dataOffset + record.sizeBytes, descriptor(record, crcs[i])});
        putRow(tail, m_root + record.name, record, crcs[i]);
    }
    const std::uint64_t size = tail.size();
    const std::uint64_t count = m_records.size();
    tail.put(std::uint32_t{0x06064B50}).put(std::uint64_t{44}).put(std::uint16_t{0x031E}).put(std::uint16_t{45}).put(std::uint32_t{0}).put(std::uint32_t{0});
    tail.put(count).put(count).put(size).put(m_directoryOffset);
    tail.put(std::uint32_t{0x07064B50}).put(std::uint32_t{0}).put(m_directoryOffset + size).put(std::uint32_t{1});
    const std::uint16_t shortCount = low16(std::min<std::uint64_t>(count, 0xFFFF));
    tail.put(std::uint32_t{0x06054B50}).put(std::uint32_t{0}).put(shortCount).put(shortCount).put(capped32(size)).put(capped32(m_directoryOffset)).put(std::uint16_t{0});
    out.push_back({m_directoryOffset, tail.take()});
    return out;
}

} // namespace shardlens
