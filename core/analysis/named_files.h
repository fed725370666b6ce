#pragma once

#include <string>
#include <vector>

namespace shardlens {

// Files that somebody loads who is given this one: those that a list or an index in JSON names (every text in it that is the name of a file beside it, or below
// the base_dir that it gives). Nothing for other files. Paths; in the order of the list, each once.
[[nodiscard]] std::vector<std::string> filesNamedIn(const std::string& path);

// "latest" and its like name a folder beside them: what is meant is all that lies there. The folder, or the path itself for other files.
[[nodiscard]] std::string pointedFolder(const std::string& path);

} // namespace shardlens
