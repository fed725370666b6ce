#include "tests/architecture/source_rules.h"

#include <cctype>
#include <sstream>

namespace shardlens::architecture {
namespace {

std::vector<std::string> linesOf(std::string_view text)
{
    std::istringstream in{std::string(text)};
    std::vector<std::string> out;
    for (std::string line; std::getline(in, line);)
        out.push_back(line);
    return out;
}

std::size_t hexDigitsFrom(std::string_view text, std::size_t at)
{
    std::size_t count = 0;
    while (at + count < text.size() && std::isxdigit(static_cast<unsigned char>(text[at + count])) != 0)
        ++count;
    return count;
}

} // namespace

std::vector<std::string> sizeViolations(const std::string& path, std::string_view text)
{
    const std::vector<std::string> lines = linesOf(text);
    std::vector<std::string> out;
    if (lines.size() > kMaxFileLines)
        out.push_back(path + ": " + std::to_string(lines.size()) + " lines, at most " + std::to_string(kMaxFileLines));
    const bool header = path.size() > 2 && path.compare(path.size() - 2, 2, ".h") == 0;
    if (header && text.find("#pragma once") == std::string_view::npos)
        out.push_back(path + ": no #pragma once");
    for (std::size_t first = 0; first < lines.size(); ++first) {
        const std::size_t indent = lines[first].find_first_not_of(' ');
        if (indent == std::string::npos || lines[first].substr(indent) != "{")
            continue;
        const std::string close = std::string(indent, ' ') + "}";
        std::size_t last = first + 1;
        while (last < lines.size() && lines[last] != close && lines[last] != close + ";")
            ++last;
        if (last - first + 1 > kMaxFunctionLines)
            out.push_back(path + ":" + std::to_string(first) + ": a function of " + std::to_string(last - first + 1) + " lines, at most " +
                          std::to_string(kMaxFunctionLines));
    }
    return out;
}

std::vector<std::string> colourViolations(const std::string& path, std::string_view text)
{
    std::vector<std::string> out;
    for (std::size_t at = text.find('#'); at != std::string_view::npos; at = text.find('#', at + 1)) {
        const std::size_t digits = hexDigitsFrom(text, at + 1);
        const std::size_t end = at + 1 + digits;
        const bool word = end < text.size() && (std::isalnum(static_cast<unsigned char>(text[end])) != 0 || text[end] == '_');
        const bool quoted = at > 0 && (text[at - 1] == '"' || text[at - 1] == '\'' || text[at - 1] == ' ' || text[at - 1] == ':');
        if ((digits == 6 || digits == 8) && !word && quoted)
            out.push_back(path + ": colour " + std::string(text.substr(at, digits + 1)) + " is not in resources/tokens.json");
    }
    return out;
}

} // namespace shardlens::architecture
