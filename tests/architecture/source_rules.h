#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace shardlens::architecture {

constexpr std::size_t kMaxFileLines = 700;
constexpr std::size_t kMaxFunctionLines = 80;

// Files longer than kMaxFileLines, functions longer than kMaxFunctionLines (a brace on a line of its own to the brace under it),
// headers without #pragma once.
[[nodiscard]] std::vector<std::string> sizeViolations(const std::string& path, std::string_view text);
// Colours written as "#RRGGBB" outside resources/tokens.json.
[[nodiscard]] std::vector<std::string> colourViolations(const std::string& path, std::string_view text);

} // namespace shardlens::architecture
