#pragma once

#include <cstdint>

namespace shardlens {

// Lets this process have as many files open as the system allows it (RLIMIT_NOFILE, soft up to hard): a checkpoint of a thousand ranks keeps
// a thousand open. For main(), once. The limit that holds afterwards.
std::uint64_t allowManyOpenFiles();

} // namespace shardlens
