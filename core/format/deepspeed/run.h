#pragma once

#include "core/encoding/torch_file.h"
#include "core/format/deepspeed/expert_ranks.h"
#include "core/format/deepspeed/folder.h"
#include "core/model/checkpoint_builder.h"

#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace shardlens::deepspeed {

// One opened, missing or unreadable rank file.
struct RankFile {
    FileId id = kNoFile;
    std::shared_ptr<const TorchFile> torch; // empty: missing or unreadable
    std::string name{};                     // relative to the tag's folder

    [[nodiscard]] pickle::Value root() const { return torch ? torch->root() : pickle::Value{}; }
};

// The kind of optimizer that wrote the files (formats/deepspeed.md §1.5).
enum class Stage : std::uint8_t { None, Zero1, Zero2, Zero3, Bf16Optimizer, LegacyZero1 };
[[nodiscard]] const char* titleOf(Stage stage);

struct ParameterShape {
    std::string name;
    Shape shape;
    std::uint64_t count = 0; // elements
};
using ParameterGroup = std::vector<ParameterShape>;

// One expert's file of a mixture-of-experts run.
struct ExpertFile {
    ExpertNumber number;
    RankFile file;
};

// One module of experts (formats/deepspeed.md §10).
struct ExpertModule {
    std::uint32_t localExperts = 0;     // on each expert-parallel rank
    std::uint32_t size = 0;             // E: ranks that hold all its experts together
    std::optional<std::uint32_t> layer; // its number in file names
    bool stacked = false;               // AutoEP: a parameter's experts lie in one tensor, one behind another on dim 0
};

// Everything that the readers of the stages share while a checkpoint is put together.
struct Run {
    Run(const Candidate& candidate, TagFolder tagFolder) : folder(std::move(tagFolder)), builder(candidate.path, folder.path) {}

    TagFolder folder;
    CheckpointBuilder builder;
    Stage stage = Stage::None;
    std::uint32_t world = 1; // data-parallel (partition) size W
    RankFile model;          // stages 0 to 2; of ZeRO-3 the lowest rank's
    bool isModuleAlone = false; // the model file is a state dict of the module and nothing else (some files named module-pipe_XX)
    std::map<std::uint32_t, RankFile> stage3Models;
    std::map<std::uint32_t, RankFile> optimizers; // 0 … W−1, missing ones included
    std::vector<ParameterGroup> groups;           // param_shapes, in flattening order
    std::vector<std::vector<ParameterGroup>> otherGroups; // of a universal checkpoint: those of the further model-parallel ranks
    std::vector<ExpertFile> expertFiles;          // of every expert that should be there, by layer and number
    std::map<std::string, ExpertModule, std::less<>> expertModules;
    std::map<std::uint32_t, RankFile> moeOptimizers; // by expert-parallel rank, missing ones included; without ZeRO
    std::map<std::pair<std::string, RoleId>, TensorId> stackedTensors; // that several expert-parallel ranks give parts of
    // Of a universal checkpoint: optimizer_state.pt stands for the optimizer file of rank 0, and these are the files of the first parameter of each group.
    std::map<std::string, std::vector<std::pair<std::string, RankFile>>, std::less<>> universalSamples; // state, file
    std::optional<ExpertRanks> expertRanks;       // of a run with experts: the largest expert-parallel size of its modules

    void setJob(JobContext& job) { m_job = &job; }
    [[nodiscard]] JobContext& job() const { return *m_job; }
    [[nodiscard]] HolderId anyRank();               // "dp any"
    [[nodiscard]] HolderId rank(std::uint32_t dp);  // "dp N", with experts "dp N, ep M"
    // Whoever holds the experts of a rank of ExpertRanks{world, size}: "ep N", or the rank that wrote them where the run's modules differ in size.
    [[nodiscard]] HolderId expertRank(std::uint32_t expertRank, std::uint32_t size);
    [[nodiscard]] std::vector<std::uint32_t> allRanks() const; // 0 … W−1
    [[nodiscard]] Topology topology() const;
    void find(Severity severity, std::string code, std::string text, FileId file = kNoFile, std::optional<std::uint32_t> rank = std::nullopt);
    // The module's state dict in the model file; absent or None where layer files hold it.
    [[nodiscard]] pickle::Value module() const { return isModuleAlone ? model.root() : model.root().find("module"); }
    // optimizer_state_dict of a rank, or what stands for it in a universal checkpoint; absent where the file is missing.
    [[nodiscard]] pickle::Value optimizerState(std::uint32_t rank) const;
    // The lowest rank whose optimizer file was read.
    [[nodiscard]] std::optional<std::uint32_t> firstOptimizer() const;

private:
    JobContext* m_job = nullptr;
};

// Values of the pickles, read leniently.
[[nodiscard]] std::optional<std::uint64_t> countOf(pickle::Value value);
[[nodiscard]] std::optional<Shape> shapeOf(pickle::Value value); // torch.Size, tuple or list of numbers
// zero_stage: ZeroStageEnum in both encodings, or a number.
[[nodiscard]] std::optional<std::uint64_t> zeroStageOf(pickle::Value value);
// Value of ds_config by path, absent where there is none.
[[nodiscard]] pickle::Value configOf(pickle::Value fileRoot, std::initializer_list<const char*> path);
// The same of a run: of its model file, or of its first optimizer file where that has no ds_config.
[[nodiscard]] pickle::Value configOf(const Run& run, std::initializer_list<const char*> path);

} // namespace shardlens::deepspeed
