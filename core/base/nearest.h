#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

namespace shardlens {

// How many letters must be put in, taken out or exchanged to make one text of the other (Levenshtein); more than `most` as most + 1.
[[nodiscard]] std::size_t editDistance(std::string_view a, std::string_view b, std::size_t most);

// The names that a person may have meant: first those that hold `asked`, or that it ends with behind a dot (a branch in front); where there are none, those that
// are a few letters away, nearest first. At most `limit`.
[[nodiscard]] std::vector<std::string> nearestNames(std::string_view asked, const std::vector<std::string>& names, std::size_t limit);

} // namespace shardlens
