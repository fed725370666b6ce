#pragma once

#include "core/base/result.h"

#include <cstdint>
#include <string>

namespace shardlens {

// Bytes that this user may still write on the disk of `folder`.
[[nodiscard]] Result<std::uint64_t> freeBytesAt(const std::string& folder);
// Refused with both numbers where the disk of `folder` has less room than `neededBytes`.
[[nodiscard]] Status checkDiskSpace(const std::string& folder, std::uint64_t neededBytes);

} // namespace shardlens
