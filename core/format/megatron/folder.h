#pragma once

#include "core/format/format.h"
#include "core/format/iteration_root.h"

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace shardlens::megatron {

// "mp_rank_01_003": the numbers of a rank's folder. What the second and third mean is not in the name (formats/megatron.md §2.4).
struct RankFolder {
    std::string name;
    std::vector<std::uint32_t> numbers; // one to three
};
[[nodiscard]] std::optional<RankFolder> rankFolderOf(std::string_view name);

// An iteration's folder: which rank folders it has.
struct IterationFolder {
    std::string path;
    std::string root;     // the folder with latest_checkpointed_iteration.txt; the iteration's own where it was opened directly
    std::string name;     // "iter_0000003" or "release"
    std::vector<RankFolder> ranks; // natural order, those with the model file
    std::vector<std::string> otherIterations;
    const char* modelFile = "";
    bool hasDistributedOptimizer = false; // distrib_optim.pt beside the model files
    std::vector<std::string> optimizerShards; // optim.pt of data-parallel ranks in folders of their own, 2022 to 2023 (§8.3, F0)
    std::size_t layerWiseFiles = 0;           // layer_wise_optimizer_N.pt, of optimizers that own whole layers (§2.3)
    std::string firstLayerWise;               // one of them
};

constexpr const char* kModelFile = "model_optim_rng.pt";
constexpr const char* kModelFileWithoutOptimizer = "model_rng.pt"; // of runs whose optimizer lies in optim.pt

// Whether a folder is an iteration, or a root with one. Looks into at most a few sub-folders' listings.
[[nodiscard]] bool looksLikeIteration(const Candidate& candidate);
[[nodiscard]] bool looksLikeRoot(const Candidate& candidate);
// Which iteration a candidate means (§2.1). Refused: a tracker that says neither number nor "release", or names no folder; several iterations without one.
[[nodiscard]] Result<IterationFolder> resolve(const Candidate& candidate, const OpenOptions& options);

} // namespace shardlens::megatron
