#include "core/compute/devices.h"

#include "core/base/text.h"
#include "core/job/executor.h"

#include <sys/sysinfo.h>

namespace shardlens {

std::vector<Device> devices()
{
    struct sysinfo facts {};
    Device cpu{"cpu", "CPU, " + plural(availableThreads(), "thread", "threads"), 0, 0};
    if (::sysinfo(&facts) == 0) {
        cpu.totalBytes = static_cast<std::uint64_t>(facts.totalram) * facts.mem_unit;
        cpu.freeBytes = static_cast<std::uint64_t>(facts.freeram) * facts.mem_unit;
    }
    return {cpu};
}

} // namespace shardlens
