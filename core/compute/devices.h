#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace shardlens {

struct Device {
    std::string id;      // "cpu", "cuda:0"
    std::string name;    // "CPU, 16 threads"
    std::uint64_t totalBytes = 0;
    std::uint64_t freeBytes = 0;
};

// The CPU first, always.
[[nodiscard]] std::vector<Device> devices();

} // namespace shardlens
