#pragma once

#include "core/format/deepspeed/module_states.h"
#include "core/format/deepspeed/run.h"

#include <optional>
#include <string>
#include <string_view>

namespace shardlens::deepspeed {

// A parameter of an expert by its name (formats/deepspeed.md §10.1): "blocks.0" + ".deepspeed_moe.experts.deepspeed_experts." + 3 + ".fc.weight".
struct ExpertParameter {
    std::string module; // of the mixture of experts; empty at the root
    std::uint32_t expert = 0;
    std::string rest;   // "fc.weight"
    bool stacked = false; // AutoEP: "<module>.<rest>" is one tensor of all its experts
};
[[nodiscard]] std::optional<ExpertParameter> expertParameterOf(std::string_view name);
[[nodiscard]] std::string nameOf(const ExpertParameter& parameter);

// Opens the expert files and finds out how ranks share experts: run.expertFiles, run.expertModules, run.expertRanks, and without
// ZeRO run.moeOptimizers. Expects run.groups and run.world; does
// nothing for a run without experts. Files that are missing, in the way or not readable are findings. Refused: numbers that contradict each other.
Status openExperts(Run& run);

// Names with local numbers (of expert-parallel rank 0) become those of all ranks' experts, in names.trainable, withMaster and buffers.
void globalizeExpertNames(const Run& run, ModuleNames& names);
// Every name that a parameter with a local number has in the whole model, by expert-parallel rank; the name itself where it is no expert's.
[[nodiscard]] std::vector<std::string> globalNames(const Run& run, const std::string& localName);

// A tensor of an expert's file, under its name in the whole model.
struct ExpertTensor {
    std::string name;
    const RankFile* file = nullptr;
    TorchTensor tensor;
};
// Those of the experts of one expert-parallel rank that are there, in the model's order: module by module, expert by expert.
[[nodiscard]] std::vector<ExpertTensor> tensorsOfExpertRank(Run& run, std::uint32_t expertRank);

// Registers the parameters of a module's experts, in the order of their files.
void registerExperts(Run& run, const std::string& module);
// The tensors of the expert files: module copies, frozen parameters, buffers. Those of a missing file are holes.
Status addExperts(Run& run, const ModuleNames& names);

} // namespace shardlens::deepspeed
