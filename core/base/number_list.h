#pragma once

#include "core/base/result.h"

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace shardlens {

// Lists that people type. `what` names an entry in refusals: "weight 2 is '-1', …".

// "A,B*3,C": texts between commas, without spaces around them; `*3` stands for three of them. None may be empty; at most 100,000 in all.
[[nodiscard]] Result<std::vector<std::string>> wordsOf(std::string_view text, std::string_view what);
// "1,2*3,4": whole numbers from 0 to 2⁶³ − 1. Refused, with its place, what is none: signs, fractions, NaN, nothing.
[[nodiscard]] Result<std::vector<std::uint64_t>> wholeNumbersOf(std::string_view text, std::string_view what);

// What the two read, shortest first: "1, 2*3, 4" without the spaces.
[[nodiscard]] std::string listText(const std::vector<std::string>& words);

} // namespace shardlens
