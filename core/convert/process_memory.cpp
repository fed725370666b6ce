#include "core/convert/process_memory.h"

#include <fstream>
#include <string>
#include <string_view>

namespace shardlens {
namespace {

std::uint64_t statusBytes(std::string_view field)
{
    std::ifstream status("/proc/self/status");
    for (std::string line; std::getline(status, line);)
        if (line.starts_with(field)) {
            const std::size_t digits = line.find_first_of("0123456789");
            return digits == std::string::npos ? 0 : std::stoull(line.substr(digits)) * 1024; // "kB" there is KiB
        }
    return 0;
}

} // namespace

std::uint64_t residentBytes()
{
    return statusBytes("VmRSS:");
}

std::uint64_t peakResidentBytes()
{
    return statusBytes("VmHWM:");
}

} // namespace shardlens
