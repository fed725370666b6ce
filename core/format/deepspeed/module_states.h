#pragma once

#include "core/format/deepspeed/run.h"

#include <set>
#include <string>

namespace shardlens::deepspeed {

// What the model file says of names (formats/deepspeed.md §3, §8).
struct ModuleNames {
    std::set<std::string, std::less<>> buffers;
    std::map<std::string, std::string, std::less<>> aliases; // alias → canonical
    std::set<std::string, std::less<>> trainable;            // every name of param_shapes
    std::set<std::string, std::less<>> withMaster;           // names for which an optimizer keeps a master
};

// Reads buffer_names and shared_params; ties that no list names are taken from equal storage, offset and shape in `module`.
[[nodiscard]] ModuleNames moduleNames(Run& run);

// Registers every parameter in the order of `module`, so that tables show the model as it was written.
void registerParameters(Run& run, const ModuleNames& names);

// What a tensor of the module is, by its name.
[[nodiscard]] Role moduleRoleOf(const Run& run, const ModuleNames& names, const std::string& name);
// The tensors of `module`: module copies (role Module where a master is stored as well), frozen parameters (Weight), buffers; and the aliases.
// Stage 3 keeps only buffers there, everything else is a placeholder.
Status addModule(Run& run, const ModuleNames& names);
// Aliases under the canonical name that a tensor of the checkpoint has. Called last.
void addAliases(Run& run, const ModuleNames& names);

} // namespace shardlens::deepspeed
