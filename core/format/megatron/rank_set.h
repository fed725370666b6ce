#pragma once

#include "core/format/megatron/folder.h"
#include "core/format/rank_file.h"
#include "core/layout/megatron_arguments.h"
#include "core/layout/rule_set.h"
#include "core/model/piece_import.h"

#include <deque>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <tuple>
#include <utility>
#include <variant>
#include <vector>

namespace shardlens::megatron {

// Sizes of the run's axes.
struct Sizes {
    std::uint32_t tp = 1;
    std::uint32_t pp = 1;
    std::uint32_t ep = 1;
    std::uint32_t chunks = 1; // virtual pipeline: model chunks a stage
};

// Which parameters a group of a plain optimizer has (formats/megatron.md §4.2).
struct GroupClass {
    bool isEmpty = false;
    std::optional<bool> decays;   // matrices, or biases and vectors; nothing: both
    std::optional<bool> ofExperts; // nothing: both

    [[nodiscard]] bool takes(bool decaysToo, bool isExpert) const
    {
        return !isEmpty && decays.value_or(decaysToo) == decaysToo && ofExperts.value_or(isExpert) == isExpert;
    }
};

// A model_optim_rng.pt.
struct Rank {
    std::uint32_t tp = 0;
    std::uint32_t pp = 0;
    std::uint32_t ep = 0;
    std::string name;        // "mp_rank_00_001/model_optim_rng.pt"
    FileId id = kNoFile;
    RankFileContent content; // empty where the file is missing or cannot be read
    PieceImport* import = nullptr;
    CheckpointPtr ordered;   // content.checkpoint with the optimizer's states behind its tensors, and fused rows in the order of version 2
    std::vector<std::vector<GroupClass>> groups; // of each plain optimizer that was named
    std::vector<LostTensor> lost; // states without a name: a sentence for each buffer or list, about the last file of `ordered`
};

// A tensor of a rank's model and what it is called in the whole model.
struct Entry {
    std::string local;  // in its chunk: "decoder.layers.0.mlp.linear_fc1.weight"
    std::string global; // with the model's layer and expert numbers
    std::uint32_t chunk = 0;
    std::size_t tensor = 0; // of Rank::ordered
    std::size_t value = 0;  // of RankFileContent::values; of the parameter where this is a state
    bool isState = false;   // of the optimizer
};

// What the run's optimizer kept, as far as it was read.
struct OptimizerKept {
    enum class Kind : std::uint8_t { None, Distributed, Plain };
    Kind kind = Kind::None;
    bool isChained = false;      // parameters of experts have an optimizer of their own
    std::uint64_t alignment = 64; // of flat buffers
    std::string storedAs;        // Distributed: "coalesced buffers", "one vector a bucket" …
    std::vector<std::pair<Role, DType>> states; // that a parameter has
    std::set<DType> dtypes;      // of the parameters that have states
    std::map<DType, DType> gradients; // by the dtype of the parameters, where the files say it
    std::map<std::pair<std::string, std::string>, std::variant<std::int64_t, double>> numbers; // states that are plain numbers, by parameter and state
};

// Where the layers of each stage begin: by the name before the number ("decoder."), chunk and stage.
struct LayerNumbers {
    std::map<std::tuple<std::string, std::uint32_t, std::uint32_t>, std::uint64_t> counts;
    std::map<std::tuple<std::string, std::uint32_t, std::uint32_t>, std::uint64_t> offsets;
    std::map<std::string, std::uint64_t> totals;
};

// A run as it was read; `builder` then holds the model.
struct RankSet {
    RankSet(const Candidate& candidate, IterationFolder inFolder) : folder(std::move(inFolder)), builder(candidate.path, folder.path) {}

    IterationFolder folder;
    CheckpointBuilder builder;
    Sizes sizes;
    std::vector<Rank> ranks; // pipeline, expert, tensor order
    std::deque<PieceImport> imports;
    std::map<const Rank*, std::vector<Entry>> entries;
    RuleSet rules;
    Facts facts;             // args, "version", "swiglu"
    LayerNumbers layers;
    OptimizerKept optimizer;
    std::set<std::string> mastered; // parameters whose fp32 masters every rank has
    std::uint64_t localExperts = 0;
    bool isTied = false;
    bool hadGroupedExperts = false; // that were taken apart

    [[nodiscard]] const Rank* firstRead() const;
    [[nodiscard]] const Rank* at(std::uint32_t tp, std::uint32_t pp, std::uint32_t ep) const;
};

// Takes tensors of all experts of a rank apart, states too, as the rules say (formats/megatron.md §5.6). What cannot be is left as it is where there is
// one expert-parallel rank, and is lost otherwise: the ranks' buffers would pass for copies.
Status takeExpertsApart(RankSet& set, JobContext& job);

// Experts that no file holds, because all ranks that had them are missing: a finding with what their tensors were called, by those of another
// expert-parallel rank (§11).
void sayLostExperts(RankSet& set);

[[nodiscard]] Result<std::unique_ptr<RankSet>> readRankSet(const Candidate& candidate, const OpenOptions& options, JobContext& job);

// Reads what args, and the shapes, say (formats/megatron.md §4.3).
void readFacts(RankSet& set);
// Refused: arguments by which experts lie in another way than the rules say (§2.4, §5.5). Names must be known.
Status checkExpertArguments(const RankSet& set);
// Names: chunks, layers with the model's numbers, experts.
Status nameEntries(RankSet& set);
// The name with the number that a pattern's first group matched replaced.
[[nodiscard]] std::string withNumber(std::string_view name, std::string_view number, std::uint64_t with);

// The part of the name before its layer number, and that number; nothing where it has none.
struct LayerPlace {
    std::string prefix;
    std::string_view number; // part of the name
    std::uint64_t index = 0;
};
[[nodiscard]] std::optional<LayerPlace> layerOf(const RuleSet& rules, std::string_view name);
[[nodiscard]] std::optional<LayerPlace> expertOf(const RuleSet& rules, std::string_view name);

} // namespace shardlens::megatron
