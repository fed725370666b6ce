#pragma once

#include "core/format/megatron/buffer_layout.h"
#include "core/format/megatron/rank_set.h"

#include <cstdint>
#include <vector>

namespace shardlens::megatron {

constexpr const char* kFlatStatesFile = "distrib_optim.pt";

// A parameter of a rank that its optimizer may have states of.
struct Trained {
    std::size_t entry = 0; // of the rank's entries
    std::uint32_t chunk = 0;
    DType dtype{};
    Shape shape;
    std::uint64_t count = 0;
    bool isExpert = false;
    bool isShared = false; // the embedding of a tied model with a pipeline, or its copy
};

// Whether a parameter belongs to the experts, and whether it is one that tied stages share; names as a rank's model has them.
[[nodiscard]] bool isExpertParameter(const RuleSet& rules, std::string_view name);
[[nodiscard]] bool isSharedParameter(const RuleSet& rules, std::uint32_t stages, std::string_view name);
// Whether optimizers may have states of it: no buffer of the model.
[[nodiscard]] bool isTrained(const RuleSet& rules, std::string_view name);
// Whether optimizers keep masters of parameters of that dtype.
[[nodiscard]] bool isHalfPrecision(DType dtype);
// Whether weight decay is for it: no bias and no vector.
[[nodiscard]] bool isDecayed(std::size_t dimensions, std::string_view name);
// The parameters of a rank in the order in which its model registers them, which is the order of the keys: without buffers and without what shares the
// memory of another (formats/megatron.md §8.2).
[[nodiscard]] Result<std::vector<Trained>> trainedOf(const RankSet& set, const Rank& rank);
// What the arguments say about the buffers of a stage's chunk.
[[nodiscard]] BufferArguments bufferArguments(const RankSet& set, bool ofExperts, bool isFirstChunk);

// Puts what the optimizers of the ranks keep behind the tensors of each rank's model, under the names of its parameters. What cannot be named is a lost
// tensor of the rank; the model stays as it is. To be called once names are known and before ranks are imported.
Status readOptimizers(RankSet& set, JobContext& job);
// distrib_optim.pt of every rank (§8).
Status readFlatStates(RankSet& set, JobContext& job);

// `optimizer` of every rank's model file, by shapes (§4.2).
Status readPlainStates(RankSet& set, JobContext& job);

// The entry of a state of a parameter of a rank.
[[nodiscard]] Entry stateEntry(const Entry& parameter, TensorId state);
[[nodiscard]] Role stateRole(std::string_view name, DType dtype);

} // namespace shardlens::megatron
