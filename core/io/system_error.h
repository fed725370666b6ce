#pragma once

#include "core/base/result.h"

namespace shardlens {

// What errno says: NotFound for ENOENT and ENOTDIR, Io otherwise. The caller adds the place with Error::within.
[[nodiscard]] Error systemError(int number);

} // namespace shardlens
