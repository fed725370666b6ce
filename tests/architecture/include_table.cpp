#include "tests/architecture/include_table.h"

#include <algorithm>
#include <sstream>

namespace shardlens::architecture {
namespace {

std::vector<std::string> words(const std::string& text)
{
    std::istringstream in(text);
    std::vector<std::string> out;
    for (std::string word; in >> word;)
        out.push_back(word);
    return out;
}

bool startsWithAny(const std::string& header, const std::vector<std::string>& prefixes)
{
    return std::any_of(prefixes.begin(), prefixes.end(), [&](const std::string& prefix) { return header.rfind(prefix, 0) == 0; });
}

// <vector>, <cstdint>: the standard library's headers have neither a folder nor an ending.
bool isStandard(const std::string& header)
{
    return header.find_first_of("./") == std::string::npos;
}

struct Include {
    std::string header;
    bool quoted;
};

std::vector<Include> includesOf(std::string_view text)
{
    std::vector<Include> out;
    std::istringstream in{std::string(text)};
    for (std::string line; std::getline(in, line);) {
        const std::size_t hash = line.find_first_not_of(" \t");
        if (hash == std::string::npos || line[hash] != '#')
            continue;
        const std::size_t word = line.find_first_not_of(" \t", hash + 1);
        if (word == std::string::npos || line.compare(word, 7, "include") != 0)
            continue;
        const std::size_t open = line.find_first_of("\"<", word);
        const std::size_t close = open == std::string::npos ? open : line.find_first_of("\">", open + 1);
        if (close != std::string::npos)
            out.push_back({line.substr(open + 1, close - open - 1), line[open] == '"'});
    }
    return out;
}

} // namespace

std::string folderOf(const std::string& path)
{
    const std::size_t slash = path.find_last_of('/');
    return slash == std::string::npos ? std::string{} : path.substr(0, slash);
}

IncludeTable IncludeTable::parse(std::string_view text)
{
    IncludeTable table;
    std::istringstream in{std::string(text)};
    for (std::string line; std::getline(in, line);)
        if (!line.empty() && line.front() != '#')
            table.addLine(line);
    return table;
}

void IncludeTable::addLine(const std::string& line)
{
    const std::size_t colon = line.find(':');
    const std::vector<std::string> left = words(line.substr(0, colon));
    if (colon == std::string::npos || left.empty() || left.size() > 2 || (left.size() == 2 && left.front() != "library")) {
        m_problems.push_back("not a rule: " + line);
        return;
    }
    const std::vector<std::string> right = words(line.substr(colon + 1));
    if (left.size() == 2)
        m_libraries[left[1]] = right;
    else if (left.front() == "system")
        m_system = right;
    else
        m_rules[left.front()] = right;
}

const std::vector<std::string>* IncludeTable::rulesFor(const std::string& path) const
{
    const std::string folder = folderOf(path);
    for (const std::string& key : {path, folder, folderOf(folder) + "/*"})
        if (const auto at = m_rules.find(key); at != m_rules.end())
            return &at->second;
    return nullptr;
}

std::string IncludeTable::libraryOf(const std::string& header) const
{
    for (const auto& [name, prefixes] : m_libraries)
        if (startsWithAny(header, prefixes))
            return name;
    return {};
}

bool IncludeTable::allowsProjectHeader(const std::vector<std::string>& rules, const std::string& path, const std::string& header) const
{
    const std::string folder = folderOf(header);
    if (folder == folderOf(path))
        return true;
    const auto has = [&](const std::string& rule) { return std::find(rules.begin(), rules.end(), rule) != rules.end(); };
    return !has("-" + header) && (has(header) || has(folder) || has(folderOf(folder) + "/*"));
}

std::string IncludeTable::problemWith(const std::vector<std::string>& rules, const std::string& path, const std::string& header,
                                      bool quoted) const
{
    if (quoted) {
        if (header.size() > 4 && header.compare(header.size() - 4, 4, ".moc") == 0)
            return {};
        if (header.find('/') == std::string::npos)
            return "includes \"" + header + "\", not from the root";
        return allowsProjectHeader(rules, path, header) ? std::string{} : "may not include " + header;
    }
    const std::string library = libraryOf(header);
    if (library.empty())
        return isStandard(header) || startsWithAny(header, m_system) ? std::string{}
                                                                     : "includes <" + header + ">, which no library of the table has";
    return std::find(rules.begin(), rules.end(), library) != rules.end() ? std::string{} : "may not use " + library + " (<" + header + ">)";
}

std::vector<std::string> IncludeTable::violations(const std::string& path, std::string_view text) const
{
    const std::vector<std::string>* rules = rulesFor(path);
    if (rules == nullptr)
        return {path + ": its folder is not in the table"};
    std::vector<std::string> out;
    for (const Include& one : includesOf(text))
        if (const std::string problem = problemWith(*rules, path, one.header, one.quoted); !problem.empty())
            out.push_back(path + " " + problem);
    return out;
}

} // namespace shardlens::architecture
