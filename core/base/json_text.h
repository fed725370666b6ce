#pragma once

#include <cstddef>
#include <string_view>

namespace shardlens {

// How deep brackets nest outside of text, whether or not they match: to be asked before a parser that works by recursion sees foreign JSON.
[[nodiscard]] std::size_t jsonNesting(std::string_view json);

} // namespace shardlens
