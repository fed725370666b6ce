#include "core/analysis/named_files.h"

#include "core/encoding/json_document.h"
#include "core/io/byte_source.h"

#include <algorithm>
#include <filesystem>
#include <set>
#include <string_view>

namespace shardlens {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::ordered_json;

constexpr std::uint64_t kLargestNamingFile = 64ull << 20;
constexpr std::size_t kDeepestNamingFile = 32;
constexpr std::size_t kLongestName = 4096;

void collectTexts(const Json& value, std::vector<std::string>& out)
{
    if (value.is_string() && !value.get_ref<const std::string&>().empty() && value.get_ref<const std::string&>().size() <= kLongestName)
        out.push_back(value.get<std::string>());
    if (value.is_structured())
        for (const Json& inner : value)
            collectTexts(inner, out); // no deeper than kDeepestNamingFile
}

} // namespace

std::vector<std::string> filesNamedIn(const std::string& path)
{
    if (!path.ends_with(".json"))
        return {};
    const auto source = FileSource::open(path);
    const auto bytes = source ? readBytes(**source, 0, (*source)->size(), kLargestNamingFile) : Result<std::vector<std::byte>>(source.error());
    if (!bytes)
        return {};
    const auto document = parseJson({reinterpret_cast<const char*>(bytes->data()), bytes->size()}, kLargestNamingFile, kDeepestNamingFile);
    if (!document)
        return {};
    const fs::path folder = fs::path(path).parent_path();
    std::vector<fs::path> bases{folder};
    if (document->is_object() && document->contains("base_dir") && (*document)["base_dir"].is_string())
        bases.push_back(folder / (*document)["base_dir"].get<std::string>());
    std::vector<std::string> texts;
    collectTexts(*document, texts);
    std::set<std::string> seen{path};
    std::vector<std::string> out;
    std::set<std::string> known;
    for (const std::string& text : texts)
        if (text.find('\0') == std::string::npos && known.insert(text).second)
            for (const fs::path& base : bases) {
                std::error_code ignored;
                const fs::path file = base / text;
                if (fs::is_regular_file(file, ignored) && seen.insert(file.string()).second)
                    out.push_back(file.string());
            }
    return out;
}

std::string pointedFolder(const std::string& path)
{
    constexpr std::string_view kPointers[] = {"latest", "latest_universal", "latest_checkpointed_iteration.txt"};
    const fs::path file(path);
    const std::string name = file.filename().string();
    if (std::find(std::begin(kPointers), std::end(kPointers), name) == std::end(kPointers) || !fs::is_regular_file(file))
        return path;
    return file.has_parent_path() ? file.parent_path().string() : ".";
}

} // namespace shardlens
