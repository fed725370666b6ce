#include "core/encoding/hf_index.h"

#include "core/base/json_text.h"
#include "core/base/text.h"

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include <algorithm>
#include <charconv>

namespace shardlens {
namespace {

constexpr std::uint64_t kMaxIndexBytes = 256ull << 20;
constexpr std::size_t kMaxNesting = 64; // the JSON library copies values by recursion

using Json = nlohmann::ordered_json;

// By Windows' rules too, wherever we run: an index must not reach out of its folder.
bool isPlainName(const std::string& name)
{
    return !name.empty() && name != "." && name != ".." && name.find_first_of("/\\:") == std::string::npos && name.find('\0') == std::string::npos;
}

} // namespace

Result<HfIndex> readHfIndex(const ByteSource& source, std::string_view extension)
{
    SHARDLENS_ASSIGN(const auto bytes, readBytes(source, 0, source.size(), kMaxIndexBytes));
    const auto* text = reinterpret_cast<const char*>(bytes.data());
    if (const std::size_t depth = jsonNesting({text, bytes.size()}); depth > kMaxNesting)
        return Error{ErrorCode::LimitExceeded, fmt::format("the index nests {} levels deep, at most {} are read", groupedText(depth), kMaxNesting)};
    const Json root = Json::parse(text, text + bytes.size(), nullptr, false);
    if (root.is_discarded() || !root.is_object())
        return Error{ErrorCode::Corrupt, "the index is no JSON object"};
    const auto map = root.find("weight_map");
    if (map == root.end() || !map->is_object())
        return Error{ErrorCode::Corrupt, "the index has no weight_map"};
    HfIndex out;
    for (const auto& [tensor, file] : map->items()) {
        if (!file.is_string())
            return Error{ErrorCode::Corrupt, fmt::format("the index names no file for {}", printable(tensor))};
        const std::string name = file.get<std::string>();
        if (!isPlainName(name))
            return Error{ErrorCode::Refused, fmt::format("the index points {} to '{}', which is outside its folder", printable(tensor), printable(name))};
        if (!name.ends_with(extension))
            return Error{ErrorCode::Refused, fmt::format("the index points {} to '{}', which is no {} file", printable(tensor), printable(name), extension)};
        out.weightMap.emplace_back(tensor, name);
    }
    if (const auto metadata = root.find("metadata"); metadata != root.end() && metadata->is_object())
        for (const auto& [name, kept] : metadata->items())
            if (kept.is_string())
                out.aliases.emplace_back(name, kept.get<std::string>());
    return out;
}

std::optional<ShardName> shardNameOf(std::string_view fileName, std::string_view extension)
{
    if (!fileName.ends_with(extension))
        return std::nullopt;
    const std::string_view stem = fileName.substr(0, fileName.size() - extension.size());
    constexpr std::size_t kTail = 15; // "-00001-of-00003"
    if (stem.size() <= kTail)
        return std::nullopt;
    const std::string_view tail = stem.substr(stem.size() - kTail);
    ShardName out{std::string(stem.substr(0, stem.size() - kTail)), 0, 0};
    if (tail[0] != '-' || tail.substr(6, 4) != "-of-")
        return std::nullopt;
    const auto number = [&](std::size_t at, std::uint32_t& value) {
        const auto [end, problem] = std::from_chars(tail.data() + at, tail.data() + at + 5, value);
        return problem == std::errc{} && end == tail.data() + at + 5;
    };
    if (!number(1, out.index) || !number(10, out.count))
        return std::nullopt;
    return out;
}

} // namespace shardlens
