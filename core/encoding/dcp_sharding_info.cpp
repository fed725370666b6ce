#include "core/encoding/dcp_sharding_info.h"

#include "core/base/text.h"
#include "core/encoding/json_document.h"

#include <fmt/format.h>

#include <algorithm>

namespace shardlens {
namespace {

constexpr std::string_view kShardingInfo = "DCP_SHARDING_INFO";
constexpr std::size_t kDeepestInfo = 8;

} // namespace

Result<std::optional<DcpOffsets>> dcpShardingInfo(const SafetensorsHeader& header)
{
    const auto text = std::find_if(header.metadata.begin(), header.metadata.end(), [](const auto& entry) { return entry.first == kShardingInfo; });
    if (text == header.metadata.end())
        return std::optional<DcpOffsets>();
    auto parsed = parseSortedJson(text->second, kMaxSafetensorsHeader, kDeepestInfo);
    if (!parsed)
        return parsed.takeError().within(std::string(kShardingInfo));
    if (!parsed->is_object())
        return Error{ErrorCode::Corrupt, fmt::format("{} is no object", kShardingInfo)};
    DcpOffsets out;
    for (const auto& [name, of] : parsed->items()) {
        const auto offsets = of.is_object() ? of.find("saved_offsets") : of.end();
        if (offsets == of.end() || !offsets->is_array())
            return Error{ErrorCode::Corrupt, fmt::format("{} of {} has no list saved_offsets", kShardingInfo, printable(name))};
        Shape& offset = out[name];
        for (const auto& one : *offsets) {
            if (!one.is_number_unsigned())
                return Error{ErrorCode::Corrupt, fmt::format("saved_offsets of {} hold what is no count", printable(name))};
            offset.push_back(one.get<std::uint64_t>());
        }
    }
    return std::optional(std::move(out));
}

} // namespace shardlens
