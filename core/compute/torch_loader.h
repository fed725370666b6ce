#pragma once

#include "core/base/result.h"
#include "core/compute/torch_abi.h"

#include <string>
#include <vector>

namespace shardlens {

// The libtorch module once it is loaded; it stays for the life of the process.
struct TorchModule {
    std::string path;
    const ShardlensTorchModule* functions = nullptr;
};

// Where it is looked for: what SHARDLENS_TORCH_MODULE says, else the user's own (packaging/build-torch-module.sh puts it there), else the one that came with the program.
[[nodiscard]] std::vector<std::string> torchModulePlaces();
// Loads it when first asked for, and remembers how that went. NotFound with the places; Unsupported for another version of the border; Io with the linker's words: a libtorch that
// is not there, say. Takes a second and some hundred megabytes: ask only where a device is wanted.
[[nodiscard]] Result<TorchModule> torchModule();
// Of one file, without a memory of it.
[[nodiscard]] Result<TorchModule> loadTorchModule(const std::string& path);

} // namespace shardlens
