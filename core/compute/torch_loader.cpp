#include "core/compute/torch_loader.h"

#include "core/base/text.h"

#include <fmt/format.h>

#include <cstdlib>
#include <dlfcn.h>
#include <mutex>
#include <optional>
#include <unistd.h>

namespace shardlens {
namespace {

constexpr const char* kVariable = "SHARDLENS_TORCH_MODULE";
constexpr const char* kFileName = "shardlens_torch.so";

std::string programFolder()
{
    std::string path(4096, '\0');
    const ssize_t length = ::readlink("/proc/self/exe", path.data(), path.size());
    path.resize(length > 0 ? static_cast<std::size_t>(length) : 0);
    return path.substr(0, path.find_last_of('/') == std::string::npos ? 0 : path.find_last_of('/'));
}

std::string userFolder()
{
    const char* const data = std::getenv("XDG_DATA_HOME");
    const char* const home = std::getenv("HOME");
    return data != nullptr && *data != '\0' ? std::string(data) : home != nullptr ? std::string(home) + "/.local/share" : std::string();
}

} // namespace

std::vector<std::string> torchModulePlaces()
{
    if (const char* const said = std::getenv(kVariable); said != nullptr && *said != '\0')
        return {said};
    std::vector<std::string> out;
    if (const std::string user = userFolder(); !user.empty())
        out.push_back(fmt::format("{}/shardlens/{}", user, kFileName));
    if (const std::string program = programFolder(); !program.empty())
        out.push_back(fmt::format("{}/../lib/shardlens/{}", program, kFileName));
    return out;
}

Result<TorchModule> loadTorchModule(const std::string& path)
{
    void* const handle = ::dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL);
    if (handle == nullptr) {
        const char* const words = ::dlerror();
        return Error{ErrorCode::Io, words == nullptr ? "it does not load" : words}.within(printable(path));
    }
    const auto entry = reinterpret_cast<ShardlensTorchEntry>(::dlsym(handle, SHARDLENS_TORCH_ENTRY));
    if (entry == nullptr)
        return Error{ErrorCode::Unsupported, fmt::format("it is no module of this program: it has no {}", SHARDLENS_TORCH_ENTRY)}.within(printable(path));
    const ShardlensTorchModule* const functions = entry(kShardlensTorchAbi);
    if (functions == nullptr || functions->abi != kShardlensTorchAbi)
        return Error{ErrorCode::Unsupported, fmt::format("it was built for another version of the program (this one speaks version {}): build it again", static_cast<int>(kShardlensTorchAbi))}.within(printable(path));
    return TorchModule{path, functions};
}

Result<TorchModule> torchModule()
{
    static std::mutex mutex;
    static std::optional<Result<TorchModule>> known;
    const std::lock_guard lock(mutex);
    if (known)
        return *known;
    std::string places;
    for (const std::string& path : torchModulePlaces()) {
        places += fmt::format("{}{}", places.empty() ? "" : ", ", printable(path));
        if (::access(path.c_str(), F_OK) == 0)
            return known.emplace(loadTorchModule(path));
    }
    return known.emplace(Error{ErrorCode::NotFound, fmt::format("No libtorch module is there; looked for {} (packaging/build-torch-module.sh builds one, {} says where it lies)", places, kVariable)});
}

} // namespace shardlens
