#pragma once

#include "core/encoding/torch_file.h"
#include "core/format/opened_file.h"
#include "core/model/checkpoint_builder.h"

#include <functional>
#include <memory>
#include <string>
#include <vector>

namespace shardlens {

// A torch file that a rank wrote: its state dict as a checkpoint of one file, to be joined with those of the others.
struct RankFileContent {
    std::shared_ptr<const TorchFile> torch;
    CheckpointPtr checkpoint; // of one file
    std::vector<pickle::Value> values; // of its tensors in the file's tree, by number
};

// What of the file's root is the state dict. Refused where there is none.
using StateDictOf = std::function<Result<pickle::Value>(pickle::Value root)>;

// Opens `path` as the file `name` of a checkpoint. Every tensor of the state dict is a weight under its path in it.
[[nodiscard]] Result<RankFileContent> openRankStates(const std::string& path, const std::string& name, const StateDictOf& stateDict, JobContext& job);

} // namespace shardlens
