#pragma once

#include "core/format/deepspeed/module_states.h"
#include "core/format/deepspeed/run.h"

namespace shardlens::deepspeed {

// The model files and zero/optimizer_state.pt of a universal checkpoint (formats/deepspeed.md §14): run.model, run.stage3Models, run.optimizers, run.world.
// What is missing or not readable is a finding. Fails only where nothing can be named: no model file.
Status openUniversalFiles(Run& run, JobContext& job);

// Everything else, after run.stage is known: what the optimizer owns from zero/, a tensor a file; frozen parameters and buffers from the model file, where
// they have their own dtype. Parameters with an incomplete set of states, and entries that are none, are findings with the file's name, and holes.
// Refused: a model file that holds tensors of one of several tensor-parallel ranks under names that zero/ has not.
Status readUniversal(Run& run, ModuleNames& names);

} // namespace shardlens::deepspeed
