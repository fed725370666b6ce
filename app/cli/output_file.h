#pragma once

#include "core/base/result.h"

#include <cstdio>
#include <functional>
#include <string>

namespace shardlens::cli {

// Writes a file that is not there yet: `fill` writes it under a hidden name beside the target, which gets its own name at the end.
// Refused where the target exists; on any failure nothing is left. `fill` reports through its status; short writes are found here.
[[nodiscard]] Status writeNewFile(const std::string& path, const std::function<Status(std::FILE*)>& fill);

} // namespace shardlens::cli
