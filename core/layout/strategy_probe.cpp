// Neither of MindSpore's protobuf files has a magic number: they are told by their first records (formats/mindspore.md §1.2).
#include "core/base/endian.h"
#include "core/layout/strategy_text.h"
#include "core/layout/strategy_wire.h"

#include <algorithm>
#include <array>

namespace shardlens::mindspore {
namespace {

using namespace std::string_view_literals;

constexpr std::size_t kMagicBytes = 4;
constexpr std::array kEncryptedMagics = {"\xd8\x5e\x3a\x7f"sv, "\xd9\x5e\x3a\x7f"sv, "\xda\x5e\x3a\x7f"sv};

bool isSafetensors(std::string_view head, std::uint64_t fileBytes)
{
    constexpr std::size_t kLengthBytes = 8;
    if (head.size() <= kLengthBytes || head[kLengthBytes] != '{')
        return false;
    const std::uint64_t header = loadLe64(reinterpret_cast<const std::byte*>(head.data()));
    return header != 0 && header <= fileBytes - kLengthBytes;
}

// A varint at `at`, which moves behind it; nothing where it does not end within the head.
std::optional<std::uint64_t> varintAt(std::string_view head, std::size_t& at)
{
    WireReader reader(head.substr(std::min(at, head.size())));
    const auto value = reader.varint();
    if (!value)
        return std::nullopt;
    for (++at; (static_cast<unsigned char>(head[at - 1]) & 0x80) != 0;)
        ++at;
    return *value;
}

// The start of a record `TAG length`, of a field of bytes; its content may go on behind the head.
struct RecordStart {
    std::uint32_t field = 0;
    std::uint64_t length = 0;
    std::size_t content = 0;
};
std::optional<RecordStart> recordAt(std::string_view head, std::size_t at)
{
    const auto tag = varintAt(head, at);
    if (!tag || (*tag & 7) != 2)
        return std::nullopt;
    const auto length = varintAt(head, at);
    if (!length)
        return std::nullopt;
    return RecordStart{static_cast<std::uint32_t>(*tag >> 3), *length, at};
}

// Where a message that begins with a name goes on: behind the name, with the next tag.
std::optional<std::size_t> behindName(std::string_view head, std::size_t content)
{
    const auto name = recordAt(head, content);
    if (!name || name->field != 1 || name->length > head.size() - name->content)
        return std::nullopt;
    return name->content + static_cast<std::size_t>(name->length);
}

// The first record of a file that begins with field 1: a tensor with its dtype's name, or a group with ranks and nothing else.
StrategyBytes kindOfNamedRecord(std::string_view head, std::uint64_t fileBytes)
{
    const auto record = recordAt(head, 0);
    if (!record || record->field != 1 || record->length > fileBytes - record->content)
        return StrategyBytes::Unknown;
    const auto at = behindName(head, record->content);
    const auto value = at ? recordAt(head, *at) : std::nullopt;
    if (!value || (value->field != 2 && value->field != 3))
        return StrategyBytes::Unknown;
    if (value->field == 3)
        return StrategyBytes::Weights; // a map tensor
    for (WireReader reader(head.substr(value->content, static_cast<std::size_t>(std::min<std::uint64_t>(value->length, head.size())))); !reader.atEnd();) {
        const auto field = reader.next();
        if (!field || field->number != 1) // cut off by the head, or a dtype's name: ranks are small
            return StrategyBytes::Weights;
    }
    return StrategyBytes::GroupMap;
}

// current_stage, then items that begin with a name.
bool isStrategyMap(std::string_view head, std::uint64_t fileBytes)
{
    std::size_t at = 1;
    if (head.empty() || head.front() != 0x08 || !varintAt(head, at))
        return false;
    if (at == fileBytes)
        return true; // no items: a strategy of nothing
    const auto record = recordAt(head, at);
    if (!record || (record->field != 2 && record->field != 3) || record->length > fileBytes - record->content)
        return false;
    const auto content = behindName(head, record->content);
    if (!content)
        return head.size() - record->content < std::min<std::uint64_t>(record->length, 128); // the head ends within the name
    const auto inner = recordAt(head, *content);
    return *content >= head.size() || (inner && inner->field == 2);
}

bool startsJson(std::string_view head)
{
    if (head.starts_with("\xef\xbb\xbf"))
        head.remove_prefix(3);
    const std::size_t at = head.find_first_not_of(" \t\r\n");
    return at != std::string_view::npos && head[at] == '{';
}

} // namespace

StrategyBytes kindOfStrategyBytes(std::string_view head, std::uint64_t fileBytes)
{
    if (fileBytes == 0 || head.empty())
        return StrategyBytes::Empty;
    if (std::find(kEncryptedMagics.begin(), kEncryptedMagics.end(), head.substr(0, kMagicBytes)) != kEncryptedMagics.end())
        return StrategyBytes::Encrypted;
    if (head.starts_with("PK\x03\x04"))
        return StrategyBytes::Zip;
    if (head.size() > 1 && head[0] == '\x80' && head[1] >= 2 && head[1] <= 5)
        return StrategyBytes::Pickle;
    if (isSafetensors(head, fileBytes))
        return StrategyBytes::Safetensors;
    if (head.front() == 0x0a) // a line end before JSON, too
        if (const StrategyBytes named = kindOfNamedRecord(head, fileBytes); named != StrategyBytes::Unknown)
            return named;
    if (startsJson(head))
        return StrategyBytes::Json;
    return head.front() == 0x08 ? StrategyBytes::Protobuf : StrategyBytes::Unknown;
}

bool looksLikeStrategy(std::string_view head, std::uint64_t fileBytes)
{
    switch (kindOfStrategyBytes(head, fileBytes)) {
    case StrategyBytes::Protobuf: return isStrategyMap(head, fileBytes);
    case StrategyBytes::Json:
        return head.find("\"parallel_layout_item\"") != std::string_view::npos || head.find("\"parallel_strategy_item\"") != std::string_view::npos;
    case StrategyBytes::Empty:
    case StrategyBytes::Encrypted:
    case StrategyBytes::Zip:
    case StrategyBytes::Pickle:
    case StrategyBytes::Safetensors:
    case StrategyBytes::Weights:
    case StrategyBytes::GroupMap:
    case StrategyBytes::Unknown: break;
    }
    return false;
}

} // namespace shardlens::mindspore
