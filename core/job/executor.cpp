#include "core/job/executor.h"

#include <sched.h>

namespace shardlens {

Status InlineExecutor::forEach(std::size_t count, const Work& work)
{
    for (std::size_t index = 0; index < count; ++index)
        SHARDLENS_TRY(work(index));
    return {};
}

std::size_t availableThreads()
{
    cpu_set_t set;
    CPU_ZERO(&set);
    if (sched_getaffinity(0, sizeof set, &set) != 0)
        return 1;
    const int count = CPU_COUNT(&set);
    return count > 0 ? static_cast<std::size_t>(count) : 1;
}

} // namespace shardlens
