#pragma once

#include "core/base/regex.h"
#include "core/base/result.h"
#include "core/layout/partition.h"
#include "core/model/checkpoint.h"

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace shardlens {

// One entry of the list that a pipeline cuts: a numbered layer, or what stands before, between or behind numbered layers.
struct PipelineLayer {
    std::string name;                    // "3", "model.layers.7", "before the layers"
    std::optional<std::uint32_t> number; // of a numbered layer
    std::uint64_t weight = 0;            // elements of trainable parameters, on one tensor-parallel rank: what DeepSpeed balances
    std::uint64_t frozen = 0;            // elements of frozen parameters, on one tensor-parallel rank
    std::uint64_t bytes = 0;             // of all its tensors in the checkpoint: weights, copies, optimizer states, buffers
    std::vector<std::string> parameters; // names, buffers too; a tied one stands in every layer that has it
};

struct PipelineLayers {
    std::vector<PipelineLayer> layers; // at least one
    bool isPipelineRun = false;        // the layers of a PipelineModule; else layers that the names number
    std::uint32_t stages = 0;          // of the run that wrote the checkpoint; 0 where that was no pipeline
    std::optional<StageAxes> axes;     // of that run, where its ranks are numbered as in partition.h
    std::vector<std::string> notes;    // sentences: what the list leaves open
};

struct LayerOptions {
    std::optional<Regex> before; // names that stand before the numbered layers, whatever the order in the checkpoint
    std::optional<Regex> behind; // and behind them
};

// The layers of a checkpoint (formats/deepspeed.md §11.5, "A preview from a checkpoint").
// A pipeline run (layer files, or nothing but names such as `3.weight` and `tied_modules.KEY.weight`): layers 0 to the highest number; one without
// tensors weighs 0. Other models: every `PREFIX.<N>.` with at least two numbers is a row of layers (with one where no prefix has more); other names
// are entries before, between and behind, in the checkpoint's order. Trainable is what has a master or optimizer state, and everything where nothing
// is stored that would tell. Refused where no names number layers; LimitExceeded past kMostLayers.
[[nodiscard]] Result<PipelineLayers> pipelineLayersOf(const Checkpoint& checkpoint, const LayerOptions& options = {});

// What partitionLayers() takes.
[[nodiscard]] std::vector<std::uint64_t> weightsOf(const PipelineLayers& layers);

} // namespace shardlens
