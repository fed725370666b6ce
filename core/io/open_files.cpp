#include "core/io/open_files.h"

#include <sys/resource.h>

#include <algorithm>

namespace shardlens {
namespace {

constexpr rlim_t kEnough = 1u << 20; // "unlimited" makes some libraries walk through every number

} // namespace

std::uint64_t allowManyOpenFiles()
{
    rlimit limit{};
    if (::getrlimit(RLIMIT_NOFILE, &limit) != 0)
        return 0;
    const rlim_t wanted = std::min(limit.rlim_max, kEnough);
    if (limit.rlim_cur < wanted) {
        const rlim_t before = limit.rlim_cur;
        limit.rlim_cur = wanted;
        if (::setrlimit(RLIMIT_NOFILE, &limit) != 0)
            return before;
    }
    return limit.rlim_cur;
}

} // namespace shardlens
