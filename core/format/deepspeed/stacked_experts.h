#pragma once

#include "core/format/deepspeed/run.h"

#include <string_view>

namespace shardlens::deepspeed {

// Modules of AutoEP (ds_autoep_layers, formats/deepspeed.md §10.4) into run.expertModules, by the prefix of their parameters: "model.layers.0.mlp.experts".
// Refused: numbers that contradict each other, experts placed in another order than their numbers, AutoEP with AutoTP, AutoEP without ZeRO.
Status findStackedExperts(Run& run);

// The module whose experts a parameter of the model stacks ("<prefix>.w1"); nullptr for any other name.
[[nodiscard]] const ExpertModule* stackedModuleOf(const Run& run, std::string_view name);

} // namespace shardlens::deepspeed
