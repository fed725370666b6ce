#pragma once

#include "core/base/result.h"

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

namespace shardlens {

struct Device {
    std::string id;      // "cpu", "cuda:0"
    std::string name;    // "CPU, 16 threads"
    std::uint64_t totalBytes = 0;
    std::uint64_t freeBytes = 0;
    std::pair<int, int> capability{}; // CUDA's compute capability; 0, 0: none
};

// What there is to compute on, and why not more.
struct DeviceList {
    std::vector<Device> devices; // the CPU first, always
    std::string torch;           // "2.13.0, FILE": the libtorch module; empty where none is loaded
    std::string reason;          // a sentence: why there are no others; empty where there are
    std::string remark;          // the same, with what works all the same
};

[[nodiscard]] Device cpuDevice();
// Loads the libtorch module. Free memory is that of now.
[[nodiscard]] DeviceList devices();
// Whether this machine has the files of a CUDA driver: without them nobody need load anything.
[[nodiscard]] bool hasCudaDriver();

// The devices that `--device` names: cpu, cuda:N, several of these with commas, or auto (every CUDA device, or the CPU where there is none). Refused, with those that
// there are, for one that is not there; with the reason where the module does not load. Empty: the CPU.
[[nodiscard]] Result<std::vector<std::string>> chooseDevices(const std::string& asked);
// Whether the text could be a choice of devices at all.
[[nodiscard]] bool isDeviceText(const std::string& text);

} // namespace shardlens
