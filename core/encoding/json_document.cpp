#include "core/encoding/json_document.h"

#include "core/base/json_text.h"
#include "core/base/text.h"

#include <fmt/format.h>

namespace shardlens {
namespace {

// The parser's own words start with its error code.
std::string parserWords(const std::string& text)
{
    const std::size_t end = text.find("] ");
    return end == std::string::npos ? text : text.substr(end + 2);
}

template <typename Json>
Result<Json> parseWithin(std::string_view text, std::size_t largestBytes, std::size_t deepest)
{
    if (text.size() > largestBytes)
        return Error{ErrorCode::LimitExceeded, fmt::format("{} B, at most {} B are read", groupedText(text.size()), groupedText(largestBytes))};
    if (const std::size_t depth = jsonNesting(text); depth > deepest)
        return Error{ErrorCode::LimitExceeded, fmt::format("it nests {} levels deep, at most {} are read", groupedText(depth), deepest)};
    try {
        return Json::parse(text);
    } catch (const typename Json::exception& problem) { // no JSON, or a number that no type holds
        return Error{ErrorCode::Corrupt, "no JSON: " + printable(parserWords(problem.what()))};
    }
}

} // namespace

Result<nlohmann::ordered_json> parseJson(std::string_view text, std::size_t largestBytes, std::size_t deepest)
{
    return parseWithin<nlohmann::ordered_json>(text, largestBytes, deepest);
}

Result<nlohmann::json> parseSortedJson(std::string_view text, std::size_t largestBytes, std::size_t deepest)
{
    return parseWithin<nlohmann::json>(text, largestBytes, deepest);
}

} // namespace shardlens
