#pragma once

#include <cstdint>

namespace shardlens {

// What this process holds in memory now, and at most so far (VmRSS, VmHWM); 0 where the system does not say.
[[nodiscard]] std::uint64_t residentBytes();
[[nodiscard]] std::uint64_t peakResidentBytes();

} // namespace shardlens
