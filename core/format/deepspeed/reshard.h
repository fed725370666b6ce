#pragma once

#include "core/encoding/torch_tree.h"
#include "core/format/deepspeed/deepspeed_format.h"
#include "core/format/deepspeed/reshard_groups.h"
#include "core/format/target.h"

#include <map>
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
    std::map<std::pair<const TorchFile*, std::size_t>, TensorId> storages; // of the payload, by file and number
    Stage stage = Stage::Zero2;            // of the target
    std::uint64_t zeroStage = 2;           // the number that its configuration says
    std::uint32_t world = 1;
    bool keepObjects = false;
    std::set<std::string> notes;           // what the files' trees left out: "train.Config"
};

// A source and everything that is made from it; stays where it is, because its parts point at each other.
struct ReshardSource {
    OpenedRun read;
    TensorsByName tensors;
    Reshard reshard;
};
// Refused: sources that are no ZeRO run of stages 1 to 3, or no universal checkpoint of one, with all their optimizer files.
[[nodiscard]] Result<std::unique_ptr<ReshardSource>> readForResuming(const CheckpointPtr& source, const TargetOptions& options, JobContext& job);
// What the result must give when it is read.
void addResults(const Reshard& reshard, const Checkpoint& source, Target& out);

// The number that a stage has in configuration and files.
[[nodiscard]] std::uint64_t numberOf(Stage stage);

// One file on its way: its pickle, and its storages in the order in which they were asked for.
class FileMaker {
public:
    FileMaker(const Reshard& reshard, std::string name);
    FileMaker(const FileMaker&) = delete; // its tree asks it for storages
    FileMaker& operator=(const FileMaker&) = delete;

    [[nodiscard]] TorchTree& tree() { return m_tree; }
    [[nodiscard]] pickle::GraphBuilder& graph() { return m_tree.graph(); }

    // A storage of `values` elements of `dtype` filled by the runs, and the 1-D or shaped tensor that is all of it.
    [[nodiscard]] Result<pickle::Value> tensor(DType dtype, const Shape& shape, std::vector<TargetRun> runs, bool requiresGrad = false);
    // A dense tensor of the source on a storage of its own. What optimizers count with must not be shared: importing one tensor twice would make both one.
    [[nodiscard]] Result<pickle::Value> copyOf(const TorchFile& file, const TorchTensor& tensor);
    // Another tensor on the storage that the last call of tensor() made, of the same shape.
    [[nodiscard]] std::size_t lastStorage() const { return m_file.storages.size() - 1; }

    // ds_config with the stage of the target.
    [[nodiscard]] Result<pickle::Value> config(const std::shared_ptr<const TorchFile>& file, pickle::Value config);
    // torch.Size
    [[nodiscard]] pickle::Value size(const Shape& shape);

    // Names of classes that were left out go into `leftOut`.
    [[nodiscard]] Result<TargetTorchFile> finish(pickle::Value root, std::set<std::string>& leftOut) &&;

private:
    [[nodiscard]] std::size_t storageNumber(const TorchFile& file, const TorchStoragePart& part);

    const Reshard* m_reshard;
    TargetTorchFile m_file;
    TorchTree m_tree;
    std::map<std::tuple<const TorchFile*, std::size_t, std::uint64_t, std::uint64_t>, std::size_t> m_numbers;
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
