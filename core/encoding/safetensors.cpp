#include "core/encoding/safetensors.h"

#include "core/base/checked.h"
#include "core/base/endian.h"
#include "core/base/text.h"
#include "core/encoding/safetensors_sax.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>

namespace shardlens {
namespace {

// u64 header length | JSON | data, its offsets counted from the end of the JSON
constexpr std::uint64_t kLengthBytes = 8;

Error corrupt(std::string text)
{
    return {ErrorCode::Corrupt, std::move(text)};
}

std::string tensorPlace(const SafetensorsEntry& entry)
{
    return fmt::format("tensor '{}'", printable(entry.name.substr(0, 200)));
}

Result<std::string> readHeaderText(const ByteSource& source)
{
    if (source.size() < kLengthBytes)
        return corrupt(fmt::format("header too small: {} B, and the length alone takes 8", source.size()));
    std::array<std::byte, kLengthBytes> field{};
    SHARDLENS_TRY(source.readAt(0, field));
    const std::uint64_t length = loadLe64(field.data());
    if (length > kMaxSafetensorsHeader)
        return corrupt(fmt::format("header too large: {} B declared, at most {} allowed", groupedText(length), groupedText(kMaxSafetensorsHeader)));
    if (length > source.size() - kLengthBytes)
        return corrupt(fmt::format("header length: {} B declared, {} left", groupedText(length), groupedText(source.size() - kLengthBytes)));
    SHARDLENS_ASSIGN(const auto bytes, readBytes(source, kLengthBytes, length, kMaxSafetensorsHeader));
    return std::string(reinterpret_cast<const char*>(bytes.data()), bytes.size());
}

// What the JSON library lets through and the reference does not: a byte order mark, and NUL as the end.
Status checkText(const std::string& text)
{
    if (!isUtf8(text))
        return corrupt("header: not UTF-8");
    if (text.find('\0') != std::string::npos)
        return corrupt(fmt::format("header: a NUL byte at {}", kLengthBytes + text.find('\0')));
    if (text.starts_with("\xEF\xBB\xBF"))
        return corrupt("header: begins with a byte order mark");
    return {};
}

Result<std::uint64_t> bytesOfEntry(const SafetensorsEntry& entry)
{
    const DTypeInfo& dtype = info(entry.dtype);
    const std::uint64_t bits = dtype.bytesPerBlock * 8ull / dtype.valuesPerBlock;
    const auto values = elementCount(entry.shape);
    const auto total = values ? checkedMul(*values, bits) : std::nullopt;
    if (!total)
        return corrupt(fmt::format("{}: {} {} is larger than 2^64 bits", tensorPlace(entry), dtype.name, shapeText(entry.shape)));
    if (*total % 8 != 0)
        return corrupt(fmt::format("{}: {} {} takes {} bits, which is no whole byte", tensorPlace(entry), dtype.name, shapeText(entry.shape), groupedText(*total)));
    return *total / 8;
}

Status checkPlaces(const SafetensorsHeader& header, std::uint64_t fileBytes)
{
    std::uint64_t at = 0;
    for (const SafetensorsEntry& entry : header.entries) {
        if (entry.begin != at || entry.end < entry.begin)
            return corrupt(fmt::format("{}: its bytes are {} to {}, and the tensor before it ends at {}: tensors may neither overlap nor leave holes", tensorPlace(entry),
                                       groupedText(entry.begin), groupedText(entry.end), groupedText(at)));
        SHARDLENS_ASSIGN(const std::uint64_t needed, bytesOfEntry(entry));
        if (needed != entry.end - entry.begin)
            return corrupt(fmt::format("{}: {} {} takes {} B, and its offsets hold {}", tensorPlace(entry), nameOf(entry.dtype), shapeText(entry.shape), groupedText(needed),
                                       groupedText(entry.end - entry.begin)));
        at = entry.end;
    }
    const std::uint64_t data = fileBytes - header.dataOffset;
    if (at == data)
        return {};
    if (at < data)
        return corrupt(fmt::format("{} B after the last tensor: {} B of data, {} described", groupedText(data - at), groupedText(data), groupedText(at)));
    const auto cut = std::find_if(header.entries.begin(), header.entries.end(), [&](const SafetensorsEntry& entry) { return entry.end > data; });
    return corrupt(fmt::format("{} B missing: {} B of data, {} described; {} is the first that is incomplete", groupedText(at - data), groupedText(data), groupedText(at),
                               tensorPlace(*cut)));
}

void appendQuoted(std::string& out, std::string_view text)
{
    out += '"';
    for (const char c : text) {
        switch (c) {
        case '"': out += "\\\""; break;
        case '\\': out += "\\\\"; break;
        case '\b': out += "\\b"; break;
        case '\f': out += "\\f"; break;
        case '\n': out += "\\n"; break;
        case '\r': out += "\\r"; break;
        case '\t': out += "\\t"; break;
        default:
            if (static_cast<unsigned char>(c) < 0x20)
                out += fmt::format("\\u{:04x}", static_cast<unsigned char>(c));
            else
                out += c;
        }
    }
    out += '"';
}

} // namespace

Result<SafetensorsHeader> readSafetensorsHeader(const ByteSource& source)
{
    SHARDLENS_ASSIGN(const std::string text, readHeaderText(source));
    SHARDLENS_TRY(checkText(text));
    SafetensorsSax sax;
    if (!nlohmann::json::sax_parse(text, &sax))
        return corrupt(sax.problem().empty() ? "header: no JSON object" : sax.problem());
    SafetensorsHeader header;
    header.dataOffset = kLengthBytes + text.size();
    header.entries = sax.takeEntries();
    header.metadata = sax.takeMetadata();
    header.repeated = sax.takeRepeated();
    std::stable_sort(header.entries.begin(), header.entries.end(),
                     [](const SafetensorsEntry& a, const SafetensorsEntry& b) { return a.begin != b.begin ? a.begin < b.begin : a.end < b.end; });
    SHARDLENS_TRY(checkPlaces(header, source.size()));
    return header;
}

Status placeInReferenceOrder(std::vector<SafetensorsEntry>& entries)
{
    std::sort(entries.begin(), entries.end(),
              [](const SafetensorsEntry& a, const SafetensorsEntry& b) { return a.dtype != b.dtype ? a.dtype > b.dtype : a.name < b.name; });
    std::uint64_t at = 0;
    for (SafetensorsEntry& entry : entries) {
        SHARDLENS_ASSIGN(const std::uint64_t bytes, bytesOfEntry(entry));
        entry.begin = at;
        const auto end = checkedAdd(at, bytes);
        if (!end)
            return Error{ErrorCode::Refused, "the tensors together are larger than 2^64 B"};
        entry.end = at = *end;
    }
    return {};
}

Result<std::vector<std::byte>> safetensorsHeaderBytes(const std::vector<SafetensorsEntry>& entries, std::vector<std::pair<std::string, std::string>> metadata)
{
    std::sort(metadata.begin(), metadata.end());
    std::string json = "{";
    if (!metadata.empty()) {
        json += "\"__metadata__\":{";
        for (std::size_t i = 0; i < metadata.size(); ++i) {
            json += i == 0 ? "" : ",";
            appendQuoted(json, metadata[i].first);
            json += ':';
            appendQuoted(json, metadata[i].second);
        }
        json += '}';
    }
    for (const SafetensorsEntry& entry : entries) {
        if (!isUtf8(entry.name) || entry.name == "__metadata__")
            return Error{ErrorCode::Refused, fmt::format("safetensors cannot hold the name '{}'", printable(entry.name))};
        json += json.size() == 1 ? "" : ",";
        appendQuoted(json, entry.name);
        json += fmt::format(":{{\"dtype\":\"{}\",\"shape\":[{}],\"data_offsets\":[{},{}]}}", nameOf(entry.dtype), fmt::join(entry.shape, ","), entry.begin, entry.end);
    }
    json += '}';
    json.resize((json.size() + 7) / 8 * 8, ' ');
    if (json.size() > kMaxSafetensorsHeader)
        return Error{ErrorCode::Refused, fmt::format("a header of {} B, and readers allow {}; write several files (--max-shard-size)", groupedText(json.size()), groupedText(kMaxSafetensorsHeader))};
    std::vector<std::byte> out(kLengthBytes + json.size());
    storeLe(out.data(), static_cast<std::uint64_t>(json.size()));
    std::memcpy(out.data() + kLengthBytes, json.data(), json.size());
    return out;
}

} // namespace shardlens
