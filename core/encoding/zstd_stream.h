#pragma once

#include "core/base/result.h"
#include "core/io/byte_source.h"

#include <cstdint>
#include <vector>

namespace shardlens {

// The first bytes of what zstd made of [offset, offset + storedBytes): at most `most`, and no more is read than they need. Corrupt where the data break off or are
// no zstd frame. Takes memory for what really comes out only.
[[nodiscard]] Result<std::vector<std::byte>> zstdPrefix(const ByteSource& source, std::uint64_t offset, std::uint64_t storedBytes, std::uint64_t most);

} // namespace shardlens
