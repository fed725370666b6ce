#pragma once

#include "core/base/result.h"

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace shardlens::cli {

// "1,2,3": whole numbers from 0 to 2⁶³ − 1, spaces around them allowed. Refused, with its place ("weight 2"), what is none: signs, fractions, NaN, nothing.
[[nodiscard]] Result<std::vector<std::uint64_t>> wholeNumbersOf(std::string_view text, std::string_view what);
// "A,B,C": texts between commas, without spaces around them; none may be empty.
[[nodiscard]] Result<std::vector<std::string>> wordsOf(std::string_view text, std::string_view what);

} // namespace shardlens::cli
