#pragma once

#include "core/layout/partition.h"
#include "core/layout/pipeline_layers.h"

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace shardlens {

// A partition with all that is known about its layers: what the command prints, the window draws and both export.
struct PartitionPreview {
    std::string method; // "parameters", "type:block", "given"
    Partition partition;
    std::vector<std::uint64_t> weights;  // trainable parameters a layer; empty where nobody knows them
    std::optional<PipelineLayers> layers; // of a checkpoint
    std::optional<StageAxes> axes;        // where the sizes inside a stage are known
};

// One stage in numbers. Optional where nobody knows them.
struct StageFacts {
    PartitionStage stage;                    // its weight is what the method balances
    std::optional<std::uint64_t> parameters; // trainable ones
    std::optional<std::uint64_t> bytes;      // in the checkpoint
    std::optional<std::uint64_t> firstRank;
    std::uint64_t ranks = 0;
};
[[nodiscard]] std::vector<StageFacts> stageFactsOf(const PartitionPreview& preview);

// docs/json.md, "partition": indented, with a line end.
[[nodiscard]] std::string partitionJson(const PartitionPreview& preview);
// stage,begin,end,weight,parameters,bytes,first_rank,ranks: a line each; empty cells where nobody knows.
[[nodiscard]] std::string partitionCsv(const PartitionPreview& preview);

} // namespace shardlens
