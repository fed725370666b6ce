#include "core/layout/rule_library.h"

#include "core/base/text.h"

#include <fmt/format.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>

namespace shardlens {

// Text of the files of resources/rules, made by CMake.
std::span<const std::string_view> embeddedRuleFiles();

namespace {

constexpr std::uintmax_t kLargestRuleText = 4u << 20;

std::vector<RuleSet> readEmbedded()
{
    std::vector<RuleSet> out;
    for (const std::string_view text : embeddedRuleFiles())
        if (auto rules = parseRules(text, "built in")) // a test reads each of them
            out.push_back(rules.take());
    std::sort(out.begin(), out.end(), [](const RuleSet& a, const RuleSet& b) { return a.id < b.id; });
    return out;
}

std::string environment(const char* name)
{
    const char* value = std::getenv(name);
    return value == nullptr ? std::string() : std::string(value);
}

} // namespace

std::span<const RuleSet> builtInRules()
{
    static const std::vector<RuleSet> rules = readEmbedded();
    return rules;
}

const RuleSet& builtInRules(std::string_view id)
{
    const auto all = builtInRules();
    const auto at = std::find_if(all.begin(), all.end(), [&](const RuleSet& set) { return set.id == id; });
    return at == all.end() ? all.front() : *at;
}

std::string userRulesFolder()
{
    if (const std::string config = environment("XDG_CONFIG_HOME"); !config.empty())
        return config + "/shardlens/rules";
    const std::string home = environment("HOME");
    return home.empty() ? std::string() : home + "/.config/shardlens/rules";
}

Result<RuleSet> readRuleFile(const std::string& path)
{
    std::error_code failed;
    const std::uintmax_t size = std::filesystem::file_size(path, failed);
    if (failed)
        return Error{ErrorCode::NotFound, failed.message()}.within("rules " + printable(path));
    if (size > kLargestRuleText)
        return Error{ErrorCode::LimitExceeded, fmt::format("{} B, at most {} B are read", groupedText(size), groupedText(kLargestRuleText))}.within("rules " + printable(path));
    std::ifstream file(path, std::ios::binary);
    std::string text(static_cast<std::size_t>(size), '\0');
    if (!file || !file.read(text.data(), static_cast<std::streamsize>(size)))
        return Error{ErrorCode::Io, std::strerror(errno)}.within("rules " + printable(path));
    auto rules = parseRules(text, path);
    if (!rules)
        return rules.takeError().within("rules " + printable(path));
    return rules;
}

std::vector<RuleFile> rulesIn(const std::string& folder)
{
    std::vector<RuleFile> out;
    std::error_code failed;
    for (std::filesystem::directory_iterator at(folder, failed), end; !failed && at != end; at.increment(failed)) {
        if (at->path().extension() != ".json")
            continue;
        RuleFile file{at->path().string(), std::nullopt, {}};
        if (auto rules = readRuleFile(file.path))
            file.rules = rules.take();
        else
            file.problem = rules.error().text();
        out.push_back(std::move(file));
    }
    std::sort(out.begin(), out.end(), [](const RuleFile& a, const RuleFile& b) { return a.path < b.path; });
    return out;
}

Result<RuleSet> findRules(const std::string& idOrFile)
{
    if (idOrFile.ends_with(".json") || idOrFile.find('/') != std::string::npos)
        return readRuleFile(idOrFile);
    std::string ids;
    const auto matches = [&](const RuleSet& set) {
        ids += (ids.empty() ? "" : ", ") + printable(set.id);
        return set.id == idOrFile;
    };
    std::string problems; // the id may be that of a file that cannot be read
    const std::string folder = userRulesFolder();
    if (!folder.empty())
        for (RuleFile& file : rulesIn(folder)) {
            if (!file.rules)
                problems += "; " + file.problem;
            else if (matches(*file.rules))
                return std::move(*file.rules);
        }
    for (const RuleSet& set : builtInRules())
        if (matches(set))
            return set;
    return Error{ErrorCode::NotFound, fmt::format("no rules are named {}; there are {}{}", printable(idOrFile), ids, problems)};
}

} // namespace shardlens
