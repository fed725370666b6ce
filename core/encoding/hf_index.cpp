#include "core/encoding/hf_index.h"

#include "core/base/json_text.h"
#include "core/base/text.h"

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include <algorithm>
#include <charconv>
#include <unordered_map>
#include <utility>
#include <vector>

namespace shardlens {
namespace {

constexpr std::uint64_t kMaxIndexBytes = 256ull << 20;
constexpr std::size_t kMaxNesting = 64; // the JSON library copies values by recursion

using Json = nlohmann::json;

// Takes the texts of weight_map and metadata in their order; a document of them would look for each name among all before it.
class IndexReader final : public nlohmann::json_sax<Json> {
public:
    using Pairs = std::vector<std::pair<std::string, std::string>>;

    bool isObject = false;
    bool hasMap = false;
    std::string nameless; // of weight_map, whose value is no text
    bool hasNameless = false;
    Pairs map;
    Pairs metadata;
    Pairs members; // of the document itself, that are texts
    bool hasOtherMembers = false;

    bool null() override { return other(); }
    bool boolean(bool) override { return other(); }
    bool number_integer(number_integer_t) override { return other(); }
    bool number_unsigned(number_unsigned_t) override { return other(); }
    bool number_float(number_float_t, const string_t&) override { return other(); }
    bool binary(binary_t&) override { return other(); }
    bool string(string_t& text) override
    {
        if (m_depth == 1) {
            members.emplace_back(m_member, text);
            hasMap = hasMap && m_member != "weight_map";
            return true;
        }
        if (m_depth != 2 || m_pairs == nullptr)
            return other();
        const auto [at, isNew] = m_places.try_emplace(m_name, m_pairs->size());
        if (isNew)
            m_pairs->emplace_back(m_name, text);
        else
            (*m_pairs)[at->second].second = text; // of two members of one name the last counts
        return true;
    }
    bool start_object(std::size_t) override
    {
        other();
        if (++m_depth == 1)
            isObject = true;
        if (m_depth == 2 && (m_member == "weight_map" || m_member == "metadata")) {
            m_pairs = m_member == "metadata" ? &metadata : &map;
            m_pairs->clear();
            m_places.clear();
            if (m_pairs == &map) {
                hasMap = true;
                hasNameless = false;
            }
        }
        return true;
    }
    bool key(string_t& name) override
    {
        (m_depth == 1 ? m_member : m_name) = name;
        return true;
    }
    bool end_object() override
    {
        if (--m_depth == 1)
            m_pairs = nullptr;
        return true;
    }
    bool start_array(std::size_t) override
    {
        other();
        ++m_depth;
        return true;
    }
    bool end_array() override
    {
        --m_depth;
        return true;
    }
    bool parse_error(std::size_t, const std::string&, const nlohmann::detail::exception&) override { return false; }

private:
    // A value that is no text of the two members.
    bool other()
    {
        hasOtherMembers = hasOtherMembers || m_depth == 1;
        if (m_depth == 1 && m_member == "weight_map")
            hasMap = false;
        if (m_depth == 2 && m_pairs == &map && !hasNameless) {
            hasNameless = true;
            nameless = m_name;
        }
        return true;
    }

    std::size_t m_depth = 0;
    std::string m_member; // of the document
    std::string m_name;   // of the innermost object
    Pairs* m_pairs = nullptr;
    std::unordered_map<std::string, std::size_t> m_places;
};

// By Windows' rules too, wherever we run: an index must not reach out of its folder.
bool isPlainName(const std::string& name)
{
    return !name.empty() && name != "." && name != ".." && name.find_first_of("/\\:") == std::string::npos && name.find('\0') == std::string::npos;
}

Result<HfIndex> readIndex(const ByteSource& source, std::string_view extension, bool mayBeFlat)
{
    SHARDLENS_ASSIGN(const auto bytes, readBytes(source, 0, source.size(), kMaxIndexBytes));
    const auto* text = reinterpret_cast<const char*>(bytes.data());
    if (const std::size_t depth = jsonNesting({text, bytes.size()}); depth > kMaxNesting)
        return Error{ErrorCode::LimitExceeded, fmt::format("the index nests {} levels deep, at most {} are read", groupedText(depth), kMaxNesting)};
    IndexReader reader;
    const bool isJson = Json::sax_parse(text, text + bytes.size(), &reader);
    if (!isJson || !reader.isObject)
        return Error{ErrorCode::Corrupt, "the index is no JSON object"};
    if (mayBeFlat && !reader.hasMap && !reader.hasOtherMembers) {
        reader.map = std::move(reader.members);
        reader.hasMap = true;
    }
    if (!reader.hasMap)
        return Error{ErrorCode::Corrupt, "the index has no weight_map"};
    if (reader.hasNameless)
        return Error{ErrorCode::Corrupt, fmt::format("the index names no file for {}", printable(reader.nameless))};
    HfIndex out;
    for (auto& [tensor, name] : reader.map) {
        if (!isPlainName(name))
            return Error{ErrorCode::Refused, fmt::format("the index points {} to '{}', which is outside its folder", printable(tensor), printable(name))};
        if (!name.ends_with(extension))
            return Error{ErrorCode::Refused, fmt::format("the index points {} to '{}', which is no {} file", printable(tensor), printable(name), extension)};
        out.weightMap.emplace_back(std::move(tensor), std::move(name));
    }
    out.aliases = std::move(reader.metadata);
    return out;
}

} // namespace

Result<HfIndex> readHfIndex(const ByteSource& source, std::string_view extension)
{
    return readIndex(source, extension, false);
}

Result<HfIndex> readNameMap(const ByteSource& source, std::string_view extension)
{
    return readIndex(source, extension, true);
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
