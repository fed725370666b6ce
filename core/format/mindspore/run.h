#pragma once

#include "core/format/mindspore/weights_file.h"
#include "core/layout/mindspore_strategy.h"

#include <memory>
#include <optional>
#include <set>
#include <string>
#include <unordered_map>
#include <vector>

namespace shardlens::mindspore {

// A run of which everything but the tensors' values has been read, with the builder of its checkpoint.
struct RankRun {
    RankRun(const Candidate& candidate, RunFolder found) : folder(std::move(found)), builder(candidate.path, folder.folder) {}

    RunFolder folder;
    CheckpointBuilder builder;
    std::optional<Strategy> strategy; // nothing: each rank's entries are shown apart, or there is one file
    std::string strategyPath;
    std::vector<std::unique_ptr<WeightsFile>> files; // by rank, missing ones included; of a unified folder its parts
    bool isByRank = false; // names are rank_N/NAME
    std::unordered_map<std::string, std::string> partOf; // of a unified folder: the file that its map names for a tensor
    std::set<std::string, std::less<>> plainAccumulators; // whose optimizer shard the strategy claims and the files have not (§3.2.1)

    // Coordinates of whoever holds what a file holds.
    [[nodiscard]] HolderId holderOf(const WeightsFile& file);
    void find(Severity severity, std::string code, std::string text, const WeightsFile* file = nullptr);
};

// Finds, reads and joins. Refused: a strategy that is none or is of fewer ranks than there are folders.
[[nodiscard]] Result<std::unique_ptr<RankRun>> readRankRun(const Candidate& candidate, const OpenOptions& options, JobContext& job);

} // namespace shardlens::mindspore
