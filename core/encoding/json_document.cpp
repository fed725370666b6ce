#include "core/encoding/json_document.h"

#include "core/base/json_text.h"
#include "core/base/text.h"

#include <fmt/format.h>

namespace shardlens {
namespace {

// The parser's own words start with its error code.
std::string parserWords(const nlohmann::ordered_json::exception& problem)
{
    const std::string text = problem.what();
    const std::size_t end = text.find("] ");
    return end == std::string::npos ? text : text.substr(end + 2);
}

} // namespace

Result<nlohmann::ordered_json> parseJson(std::string_view text, std::size_t largestBytes, std::size_t deepest)
{
    if (text.size() > largestBytes)
        return Error{ErrorCode::LimitExceeded, fmt::format("{} B, at most {} B are read", groupedText(text.size()), groupedText(largestBytes))};
    if (const std::size_t depth = jsonNesting(text); depth > deepest)
        return Error{ErrorCode::LimitExceeded, fmt::format("it nests {} levels deep, at most {} are read", groupedText(depth), deepest)};
    try {
        return nlohmann::ordered_json::parse(text);
    } catch (const nlohmann::ordered_json::exception& problem) { // no JSON, or a number that no type holds
        return Error{ErrorCode::Corrupt, "no JSON: " + printable(parserWords(problem))};
    }
}

} // namespace shardlens
