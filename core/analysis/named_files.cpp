#include "core/analysis/named_files.h"

#include "core/io/byte_source.h"

#include <nlohmann/json.hpp>

#include <algorithm>
#include <filesystem>
#include <set>
#include <string_view>
#include <system_error>
#include <unordered_set>

namespace shardlens {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::json;

constexpr std::uint64_t kLargestNamingFile = 256ull << 20; // as large as an index may be
constexpr std::size_t kLongestName = 4096;

// Every text of a document, each once, in their order, and its base_dir. No tree is made of it: an index has a text for each of a hundred thousand tensors.
class TextCollector final : public nlohmann::json_sax<Json> {
public:
    std::vector<std::string> texts;
    std::string baseFolder;

    bool null() override { return true; }
    bool boolean(bool) override { return true; }
    bool number_integer(number_integer_t) override { return true; }
    bool number_unsigned(number_unsigned_t) override { return true; }
    bool number_float(number_float_t, const string_t&) override { return true; }
    bool binary(binary_t&) override { return true; }
    bool string(string_t& text) override
    {
        if (m_depth == 1 && m_isBase)
            baseFolder = text;
        if (!text.empty() && text.size() <= kLongestName && text.find('\0') == std::string::npos && m_known.insert(text).second)
            texts.push_back(text);
        return true;
    }
    bool start_object(std::size_t) override
    {
        ++m_depth;
        return true;
    }
    bool key(string_t& name) override
    {
        m_isBase = name == "base_dir";
        return true;
    }
    bool end_object() override
    {
        --m_depth;
        return true;
    }
    bool start_array(std::size_t) override { return start_object(0); }
    bool end_array() override { return end_object(); }
    bool parse_error(std::size_t, const std::string&, const nlohmann::detail::exception&) override { return false; }

private:
    std::size_t m_depth = 0;
    bool m_isBase = false;
    std::unordered_set<std::string> m_known;
};

} // namespace

std::vector<std::string> filesNamedIn(const std::string& path)
{
    if (!path.ends_with(".json"))
        return {};
    const auto source = FileSource::open(path);
    const auto bytes = source ? readBytes(**source, 0, (*source)->size(), kLargestNamingFile) : Result<std::vector<std::byte>>(source.error());
    if (!bytes)
        return {};
    TextCollector found;
    const auto* text = reinterpret_cast<const char*>(bytes->data());
    if (!Json::sax_parse(text, text + bytes->size(), &found))
        return {};
    const fs::path folder = fs::path(path).parent_path();
    std::vector<fs::path> bases{folder};
    if (!found.baseFolder.empty())
        bases.push_back(folder / found.baseFolder);
    std::set<std::string> seen{path};
    std::vector<std::string> out;
    for (const std::string& name : found.texts)
        for (const fs::path& base : bases) {
            std::error_code ignored;
            const fs::path file = base / name;
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
    std::error_code ignored;
    if (std::find(std::begin(kPointers), std::end(kPointers), name) == std::end(kPointers) || !fs::is_regular_file(file, ignored))
        return path;
    return file.has_parent_path() ? file.parent_path().string() : ".";
}

} // namespace shardlens
