#pragma once

#include "core/base/result.h"

#include <nlohmann/json.hpp>

#include <cstddef>
#include <string_view>

namespace shardlens {

// Foreign JSON with limits before the parser sees it: LimitExceeded for more bytes or levels of brackets, Corrupt "no JSON: …" in the parser's words.
// Members keep their order.
[[nodiscard]] Result<nlohmann::ordered_json> parseJson(std::string_view text, std::size_t largestBytes, std::size_t deepest);
// The same with members sorted by name, for objects of many: those that keep their order look for each name among all before it.
[[nodiscard]] Result<nlohmann::json> parseSortedJson(std::string_view text, std::size_t largestBytes, std::size_t deepest);

} // namespace shardlens
