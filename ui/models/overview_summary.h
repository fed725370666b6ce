#pragma once

#include "core/model/checkpoint.h"
#include "ui/models/atlas_palette.h"

#include <cstdint>
#include <optional>
#include <stop_token>
#include <vector>

namespace shardlens::ui {

// One state in one dtype: "exp_avg", F32.
struct StateUse {
    RoleId role{};
    DType dtype{};
    bool quantized = false; // codes, scales and other parts of quantized weights
    std::uint64_t tensors = 0;
    std::uint64_t bytes = 0;       // of its values
    std::uint64_t storedBytes = 0; // of its pieces: replicas count each time
};

// What one rank holds; where a format knows no ranks, one file.
struct PlaceUse {
    std::optional<std::uint32_t> rank;
    FileId file = kNoFile;
    std::vector<std::uint64_t> bytes; // by index into OverviewSummary::states
    std::uint64_t total = 0;
    bool missing = false; // a file of it is not there or not readable
};

// A stretch of the model's flat order that belongs to one module.
struct ModuleStretch : AtlasSpan {
    QString label;
    bool odd = false;
};

// What the overview says about a checkpoint. Immutable; building is O(n log n) in pieces and meant for a worker.
struct OverviewSummary {
    std::vector<StateUse> states; // module copies first, then by name as the checkpoint has them
    std::vector<PlaceUse> places; // by rank, else by file
    bool byRank = false;
    std::uint64_t parameterValues = 0; // of the model, buffers too; copies count once
    std::size_t parameters = 0;        // names of the model
    bool hasCodes = false;             // some of these are parts of quantized weights
    std::size_t optimizerStates = 0;
    std::size_t others = 0;            // tensors that are neither
    std::size_t incompleteTensors = 0;
    TensorId firstIncomplete = kNoTensor;
    std::uint64_t missingCells = 0;
    AtlasModelPtr model;     // in parameter order, nothing folded, only what the model is made of has room
    AtlasPalettePtr classes; // of parameters
    std::vector<ModuleStretch> modules;
    std::vector<std::size_t> weightLanes; // of `model`: what the model itself is made of, the most precise copy
    std::vector<std::size_t> copyLanes;   // of `model`: for what has no other

    [[nodiscard]] bool complete() const { return incompleteTensors == 0; }
};

// nullptr where `stop` was requested.
[[nodiscard]] std::shared_ptr<const OverviewSummary> summarise(const CheckpointPtr& checkpoint, const std::stop_token& stop);

} // namespace shardlens::ui
