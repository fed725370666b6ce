#include "core/compute/devices.h"

#include "core/base/text.h"
#include "core/compute/torch_loader.h"
#include "core/job/executor.h"

#include <fmt/format.h>

#include <algorithm>
#include <sys/sysinfo.h>
#include <unistd.h>

namespace shardlens {
namespace {

constexpr std::string_view kCuda = "cuda:";
constexpr std::string_view kFirstCuda = "cuda:0"; // "cuda", as PyTorch understands it

std::vector<std::string> partsOf(const std::string& text)
{
    std::vector<std::string> out;
    for (std::size_t begin = 0; begin <= text.size();) {
        const std::size_t end = std::min(text.find(',', begin), text.size());
        out.push_back(text.substr(begin, end - begin));
        if (out.back() + ":" == kCuda)
            out.back() = kFirstCuda;
        begin = end + 1;
    }
    return out;
}

bool isCuda(const std::string& text)
{
    return text.size() > kCuda.size() && text.size() < kCuda.size() + 4 && text.starts_with(kCuda) && text.find_first_not_of("0123456789", kCuda.size()) == std::string::npos;
}

std::string sentence(const Error& error)
{
    return error.sentence();
}

} // namespace

Device cpuDevice()
{
    struct sysinfo facts {};
    Device cpu{"cpu", "CPU, " + plural(availableThreads(), "thread", "threads"), 0, 0, {}};
    if (::sysinfo(&facts) == 0) {
        cpu.totalBytes = static_cast<std::uint64_t>(facts.totalram) * facts.mem_unit;
        cpu.freeBytes = static_cast<std::uint64_t>(facts.freeram) * facts.mem_unit;
    }
    return cpu;
}

bool hasCudaDriver()
{
    return ::access("/proc/driver/nvidia/version", F_OK) == 0 || ::access("/dev/nvidiactl", F_OK) == 0 || ::access("/dev/dxg", F_OK) == 0;
}

DeviceList devices()
{
    DeviceList out{{cpuDevice()}, {}, {}, {}};
    const auto module = torchModule();
    if (!module) {
        out.reason = sentence(module.error());
        out.remark = out.reason + " Casts and quantization run on the CPU, with the same results.";
        return out;
    }
    out.torch = fmt::format("{}, {}", module->functions->version, module->path);
    for (std::int32_t i = 0; i < module->functions->deviceCount(); ++i) {
        ShardlensTorchDevice facts{};
        if (module->functions->device(i, &facts) == kShardlensTorchOk)
            out.devices.push_back({facts.id, facts.name, facts.totalBytes, facts.freeBytes, {facts.computeMajor, facts.computeMinor}});
    }
    if (out.devices.size() == 1)
        out.reason = out.remark = hasCudaDriver() ? fmt::format("libtorch {} sees no CUDA device: this build of it may be without CUDA; packaging/build-torch-module.sh builds the module against a PyTorch that has it.", module->functions->version)
                                     : "There is no CUDA driver on this machine.";
    return out;
}

bool isDeviceText(const std::string& text)
{
    if (text == "auto" || text == "cpu")
        return true;
    const std::vector<std::string> parts = partsOf(text);
    return std::all_of(parts.begin(), parts.end(), isCuda);
}

Result<std::vector<std::string>> chooseDevices(const std::string& asked)
{
    std::vector<std::string> out;
    if (asked == "cpu" || (asked == "auto" && !hasCudaDriver()))
        return out;
    const DeviceList found = devices();
    if (asked == "auto") {
        for (std::size_t i = 1; i < found.devices.size(); ++i)
            out.push_back(found.devices[i].id);
        return out;
    }
    if (!isDeviceText(asked))
        return Error{ErrorCode::Refused, fmt::format("--device {}: cpu, auto, cuda:N or several of these with commas are meant", printable(asked))};
    std::string there;
    for (const Device& device : found.devices)
        there += fmt::format("{}{}", there.empty() ? "" : ", ", device.id);
    for (const std::string& one : partsOf(asked)) {
        const bool known = std::any_of(found.devices.begin(), found.devices.end(), [&](const Device& device) { return device.id == one; });
        if (!known)
            return Error{ErrorCode::Refused, fmt::format("--device {}: {} is not there; there is {}{}{}", printable(asked), one, there, found.reason.empty() ? "" : ". ", found.reason.substr(0, found.reason.find_last_not_of('.') + 1))};
        if (std::find(out.begin(), out.end(), one) == out.end())
            out.push_back(one);
    }
    return out;
}

} // namespace shardlens
