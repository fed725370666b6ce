#pragma once

#include "core/format/deepspeed/deepspeed_format.h"
#include "core/format/deepspeed/parallel.h"
#include "core/format/deepspeed/reshard_groups.h"
#include "core/format/target_file.h"

#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

namespace shardlens::deepspeed {

// Everything that the files of the new run are made from.
struct Reshard {
    const Run* run = nullptr;              // the source, all of its pickles
    CheckpointPtr payload;                 // the source's tensors, and its small files' storages behind them
    const TensorsByName* tensors = nullptr;
    const ModuleNames* names = nullptr;
    std::vector<TrainedGroup> groups;
    StorageTensors storages;               // of the payload
    Stage stage = Stage::Zero2;            // of the target
    std::uint64_t zeroStage = 2;           // the number that its configuration says
    std::uint32_t world = 1;
    bool keepObjects = false;
    std::set<std::string> notes;           // what the files' trees left out: "train.Config"
    struct Stages {                        // of a run of several model-parallel ranks
        std::uint32_t pp = 1;
        std::uint32_t tp = 1;
        std::vector<std::string> buffers;  // names of the stage's own
    };
    std::optional<Stages> stages;
};

// A source and everything that is made from it; stays where it is, because its parts point at each other.
struct ReshardSource {
    OpenedRun read;
    std::unique_ptr<ParallelRun> parallel; // of several model-parallel ranks; `read` is empty then, and groups and tensors are those of the whole model
    TensorsByName tensors;
    Reshard reshard;
};
// Refused: sources that are no ZeRO run of stages 1 to 3, or no universal checkpoint of one, with all their optimizer files.
[[nodiscard]] Result<std::unique_ptr<ReshardSource>> readForResuming(const CheckpointPtr& source, const TargetOptions& options, JobContext& job);
// The same of a run of several model-parallel ranks: every rank read, groups merged over the stages.
[[nodiscard]] Result<std::unique_ptr<ReshardSource>> readParallelForResuming(const Candidate& candidate, const TargetOptions& options, JobContext& job);
// The run on options.tp x options.pp x options.dp ranks, or with Select::Module its model and layer files alone.
[[nodiscard]] Result<Target> layOutParallel(ReshardSource& prepared, const Checkpoint& source, const TargetOptions& options, JobContext& job);

[[nodiscard]] Error nothingToResume(const std::string& why);
// … of a run whose model file is no more than the module (Run::isModuleAlone).
[[nodiscard]] Error moduleAlone(const Run& run);
// Refused: runs that are no ZeRO run of stages 1 to 3 with all optimizer files.
Status checkSource(Run& run, const TargetOptions& options);
[[nodiscard]] Result<Stage> targetStage(const Run& run, const TargetOptions& options);
// What the result must give when it is read.
void addResults(const Reshard& reshard, const Checkpoint& source, Target& out);

// The number that a stage has in configuration and files.
[[nodiscard]] std::uint64_t numberOf(Stage stage);

// One file of the new run on its way.
class FileMaker : public TargetFileMaker {
public:
    FileMaker(const Reshard& reshard, std::string name) : TargetFileMaker(reshard.storages, reshard.keepObjects, std::move(name)), m_reshard(&reshard) {}

    // ds_config with the stage of the target.
    [[nodiscard]] Result<pickle::Value> config(const std::shared_ptr<const TorchFile>& file, pickle::Value config);

private:
    const Reshard* m_reshard;
};

// mp_rank_00_model_states.pt, or one zero_pp_rank_R file a rank for ZeRO-3. Random states are left out and listed in `dropped`.
[[nodiscard]] Result<TargetTorchFile> modelFile(const Reshard& reshard, std::uint32_t rank, const std::string& name, std::set<std::string>& leftOut,
                                                std::set<std::string>& dropped);
// The file of one expert, as it is.
[[nodiscard]] Result<TargetTorchFile> expertFile(const Reshard& reshard, const ExpertFile& expert, const std::string& name, std::set<std::string>& leftOut);
// …_optim_states.pt of a rank.
[[nodiscard]] Result<TargetTorchFile> optimizerFile(const Reshard& reshard, std::uint32_t rank, const std::string& name, std::set<std::string>& leftOut);

// Format::layOut of deepspeed: the tag's folder and `latest` of a run on options.dp ranks at options.zeroStage, to be resumed by the engine
// (formats/deepspeed.md §15). Refused: sources that are no ZeRO run of stages 1 to 3 with all its optimizer files.
[[nodiscard]] Result<Target> layOut(const CheckpointPtr& source, const TargetOptions& options, JobContext& job);
// Format::layOut of universal: zero/<parameter>/<state>.pt, optimizer_state.pt, the model files and latest_universal, as DeepSpeed's own converter writes
// them, and right where that is not (§6.5, §14). Refused besides: runs with experts, parameters whose names lead out of the folder.
[[nodiscard]] Result<Target> layOutUniversal(const CheckpointPtr& source, const TargetOptions& options, JobContext& job);

} // namespace shardlens::deepspeed
