#include "core/format/colossalai/target_flat.h"

#include "core/base/checked.h"
#include "core/base/text.h"
#include "core/encoding/safetensors.h"

#include <fmt/format.h>

#include <algorithm>
#include <unordered_map>

namespace shardlens::colossalai {

std::optional<std::string> foreignDType(const std::string& name, DType dtype, bool isSafetensors)
{
    const DTypeInfo& facts = info(dtype);
    const bool isKnown = isSafetensors ? facts.inSafetensors : !facts.torchName.empty() && facts.kind != DTypeKind::Quantized;
    if (isKnown)
        return std::nullopt;
    return fmt::format("{} is {}, which {} files cannot hold; leave it out with --exclude", printable(name), facts.name, isSafetensors ? "safetensors" : "torch");
}

Result<TargetFlatFile> safetensorsFile(std::vector<FlatEntry> entries, std::vector<std::pair<std::string, std::string>> metadata, bool keepOrder)
{
    std::stable_sort(entries.begin(), entries.end(), [](const FlatEntry& a, const FlatEntry& b) { return a.bytes.has_value() < b.bytes.has_value(); });
    std::vector<SafetensorsEntry> places;
    std::unordered_map<std::string_view, const FlatEntry*> entryOf;
    std::uint64_t at = 0;
    for (const FlatEntry& entry : entries) {
        if (const auto problem = foreignDType(entry.name, entry.dtype, true))
            return Error{ErrorCode::Refused, *problem};
        const auto size = bytesOf(entry.dtype, elementCount(entry.shape).value_or(0));
        const auto end = size ? checkedAdd(at, *size) : std::nullopt;
        if (!end)
            return Error{ErrorCode::Refused, fmt::format("{} makes the file larger than 2^64 B", printable(entry.name))};
        places.push_back({entry.name, entry.dtype, entry.shape, at, *end});
        entryOf.emplace(entry.name, &entry);
        at = *end;
    }
    if (!keepOrder)
        SHARDLENS_TRY(placeInReferenceOrder(places));
    SHARDLENS_ASSIGN(auto header, safetensorsHeaderBytes(places, std::move(metadata)));
    TargetFlatFile out;
    out.container = TargetFlatFile::Container::Safetensors;
    out.sizeBytes = header.size() + at;
    const std::uint64_t data = header.size();
    out.literals.push_back({0, std::move(header)});
    for (const SafetensorsEntry& place : places) {
        const FlatEntry& entry = *entryOf.at(place.name);
        if (place.end == place.begin)
            continue;
        if (entry.bytes)
            out.literals.push_back({data + place.begin, *entry.bytes});
        else
            out.runs.push_back({entry.tensor, entry.dtype, 0, elementCount(entry.shape).value_or(0), data + place.begin});
        out.tensors += entry.bytes ? 0 : 1;
    }
    return out;
}

} // namespace shardlens::colossalai
