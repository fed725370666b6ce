#pragma once

#include "core/base/result.h"

#include <string>

namespace shardlens {

// Gives `from` the name `to`, on the same file system, and never over what is there: Refused where something is. Where the file system cannot do both in
// one step (NFS, some FUSE ones) the name is looked at first, and somebody who takes it in between loses what they put there.
[[nodiscard]] Status renameNew(const std::string& from, const std::string& to);
// A folder and no link, with nothing in it.
[[nodiscard]] bool isEmptyFolder(const std::string& path);
// The same of a folder, in one step everywhere; an empty folder that has the name gives it up, and its mode and group with it.
[[nodiscard]] Status renameFolder(const std::string& from, const std::string& to);

} // namespace shardlens
