#pragma once

#include <string>

namespace shardlens {

// One argument of a POSIX shell; plain texts stay as they are.
[[nodiscard]] std::string shellQuoted(const std::string& text);
// The same for a path: one that starts with a dash would be read as an option, and gets "./".
[[nodiscard]] std::string pathArgument(const std::string& path);

} // namespace shardlens
