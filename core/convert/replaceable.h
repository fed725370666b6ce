#pragma once

#include "core/base/result.h"

#include <string>

namespace shardlens {

// Whether --overwrite may delete what lies at `path`, which must exist: an empty folder, a folder that opens as a checkpoint and has nothing else in it,
// or a file that opens as a model by its content. Refused otherwise, with the reason: what does not open, or the first entry that does not belong.
// Reads headers only.
[[nodiscard]] Status checkReplaceable(const std::string& path);

} // namespace shardlens
