#include "core/format/deepspeed/reshard.h"

#include "core/base/text.h"
#include "core/encoding/torch_pieces.h"
#include "core/format/deepspeed/deepspeed_format.h"
#include "core/layout/selection.h"

#include <fmt/format.h>

#include <algorithm>

namespace shardlens::deepspeed {
namespace {

constexpr std::uint32_t kMaxWorld = 1u << 16;

// Which class the engine makes of stage 1 (formats/deepspeed.md §1.5): what wrote the source, where that was stage 1 too; else what its configuration asks for.
bool isBf16Optimizer(const Run& run, std::uint64_t zeroStage)
{
    if (zeroStage != 1 || run.stage == Stage::Zero1)
        return false;
    const bool fp32Gradients = configOf(run, {"data_types", "grad_accum_dtype"}).asText() == "fp32";
    const bool bf16 = configOf(run, {"bf16", "enabled"}).asBool().value_or(false);
    const auto device = configOf(run, {"zero_optimization", "offload_optimizer", "device"}).asText();
    const bool offloaded = device.value_or("none") != "none" || configOf(run, {"zero_optimization", "cpu_offload"}).asBool().value_or(false);
    return run.stage == Stage::Bf16Optimizer || (bf16 && fp32Gradients && !offloaded);
}

// The order inside a group is position by position what the engine makes; a permutation that the configuration does not explain cannot be undone.
Status checkOrder(const Run& run, const Checkpoint& source)
{
    const bool permuted = std::any_of(source.findings().begin(), source.findings().end(), [](const Finding& finding) { return finding.code == "round-robin"; });
    if (permuted && !isRoundRobin(run, run.stage))
        return Error{ErrorCode::Refused, "the flat buffers are in another order than their mappings say, and the configuration in the files does not say round_robin_gradients: "
                                         "the order that an engine would expect is not known"};
    return {};
}

// Experts are cut over the ranks that share them (formats/deepspeed.md §15).
Status checkExperts(Run& run, const Reshard& reshard)
{
    if (!run.expertRanks)
        return {};
    for (const auto& [name, module] : run.expertModules)
        if (module.stacked)
            return Error{ErrorCode::Unsupported, "a run of AutoEP: writing it anew follows in a later version"};
    if (reshard.stage == Stage::Zero3)
        return Error{ErrorCode::Refused, "--zero-stage 3: DeepSpeed's mixture of experts has no ZeRO-3"};
    for (const auto& [name, module] : run.expertModules)
        if (reshard.world % module.size != 0)
            return Error{ErrorCode::Refused, fmt::format("--dp {}: {} share the experts of {}, so the number of ranks must be a multiple of {}", reshard.world,
                                                         plural(module.size, "rank", "ranks"), printable(name), module.size)};
    for (const ExpertFile& expert : run.expertFiles)
        if (!expert.file.torch)
            return nothingToResume(fmt::format("the file of an expert ({}) is missing or cannot be read", printable(expert.file.name)));
    return {};
}

std::string joinedNames(const std::set<std::string>& names)
{
    std::string out;
    for (const std::string& name : names)
        out += (out.empty() ? "" : ", ") + printable(name);
    return out;
}

void addNotes(const Reshard& reshard, const std::set<std::string>& leftOut, const std::set<std::string>& random, Target& out)
{
    using Kind = TargetNote::Kind;
    const Run& run = *reshard.run;
    std::size_t parameters = 0;
    for (const TrainedGroup& group : reshard.groups)
        parameters += group.parameters.size();
    out.notes.push_back({Kind::Kept, "Training state",
                         fmt::format("{} in {} with masters, optimizer states, step, loss scale, scheduler and client state: {} on {} becomes {} on {}.",
                                     plural(parameters, "parameter", "parameters"), plural(reshard.groups.size(), "optimizer group", "optimizer groups"), titleOf(run.stage),
                                     plural(run.world, "rank", "ranks"), titleOf(reshard.stage), plural(reshard.world, "rank", "ranks"))});
    if (run.stage == Stage::Zero3 && reshard.stage != Stage::Zero3)
        out.notes.push_back({Kind::Cast, "Module copies", "ZeRO-3 keeps none; they are made from the masters, rounded to the dtype of training."});
    if (run.stage != Stage::Zero3 && reshard.stage == Stage::Zero3)
        out.notes.push_back({Kind::Dropped, "Module copies", "ZeRO-3 keeps none: it makes them from the masters when it resumes."});
    if (!random.empty())
        out.notes.push_back({Kind::Dropped, "Random states", fmt::format("Not carried over, because they belong to ranks: {}.", joinedNames(random))});
    out.leftOut = joinedNames(leftOut);
    if (!leftOut.empty())
        out.notes.push_back({Kind::Dropped, "Unknown objects", fmt::format("Objects of classes on no list of known ones are left out: {}. --keep-objects writes them as they are.", out.leftOut)});
    out.notes.push_back({Kind::Info, "Configuration",
                         fmt::format("The copies of ds_config say stage {}. The batch sizes in the configuration that you resume with are yours to change.", reshard.zeroStage)});
}

Status addFiles(const Reshard& reshard, JobContext& job, Target& out)
{
    const TagFolder& folder = reshard.run->folder;
    const std::string tag = folder.tag.empty() ? "global_step0" : folder.tag;
    std::set<std::string> leftOut;
    std::set<std::string> random;
    const bool isStage3 = reshard.stage == Stage::Zero3;
    for (std::uint32_t rank = 0; rank < (isStage3 ? reshard.world : 1); ++rank) {
        SHARDLENS_TRY(job.poll());
        const std::string name = isStage3 ? fmt::format("zero_pp_rank_{}_mp_rank_00_model_states.pt", rank) : std::string("mp_rank_00_model_states.pt");
        SHARDLENS_ASSIGN(auto file, modelFile(reshard, rank, fmt::format("{}/{}", tag, name), leftOut, random));
        file.rank = rank;
        out.torchFiles.push_back(std::move(file));
    }
    for (const ExpertFile& expert : reshard.run->expertFiles) {
        SHARDLENS_TRY(job.poll());
        const std::string name = fmt::format("{}/{}", tag, reshard.run->folder.experts.at(expert.number));
        SHARDLENS_ASSIGN(auto file, expertFile(reshard, expert, name, leftOut));
        out.torchFiles.push_back(std::move(file));
    }
    for (std::uint32_t rank = 0; rank < reshard.world; ++rank) {
        SHARDLENS_TRY(job.poll());
        const std::string name = fmt::format("{}/{}zero_pp_rank_{}_mp_rank_00_optim_states.pt", tag, folder.optimizerPrefix, rank);
        SHARDLENS_ASSIGN(auto file, optimizerFile(reshard, rank, name, leftOut));
        file.rank = rank;
        out.torchFiles.push_back(std::move(file));
    }
    out.textFiles.push_back({"latest", tag});
    addNotes(reshard, leftOut, random, out);
    return {};
}

} // namespace

Error nothingToResume(const std::string& why)
{
    return {ErrorCode::Refused, fmt::format("{}: there is nothing to resume from", why)};
}

Error moduleAlone(const Run& run)
{
    return nothingToResume(fmt::format("{} is a state dict of the module alone", printable(run.model.name)));
}

Result<Stage> targetStage(const Run& run, const TargetOptions& options)
{
    const std::uint64_t number = options.zeroStage.value_or(static_cast<std::uint32_t>(numberOf(run.stage)));
    if (number < 1 || number > 3)
        return Error{ErrorCode::Refused, fmt::format("--zero-stage {}: 1, 2 and 3 are written", number)};
    if (isBf16Optimizer(run, number))
        return Stage::Bf16Optimizer;
    return number == 1 ? Stage::Zero1 : number == 2 ? Stage::Zero2 : Stage::Zero3;
}

Status checkSource(Run& run, const TargetOptions& options)
{
    if (options.dp && (*options.dp == 0 || *options.dp > kMaxWorld))
        return Error{ErrorCode::Refused, fmt::format("--dp {}: 1 to {} ranks are possible", *options.dp, groupedText(kMaxWorld))};
    if (run.stage == Stage::None)
        return Error{ErrorCode::Refused, "a run without ZeRO keeps one optimizer for all ranks, which every world size resumes from as it is; its states are not cut"};
    if (run.folder.isUniversal && (run.model.root().find("ds_autoep_layers").size() > 0 || run.model.root().find("autoep_layers").size() > 0))
        return Error{ErrorCode::Unsupported, "a universal checkpoint of an AutoEP run: writing it anew follows in a later version"};
    if (run.folder.isUniversal && !run.model.torch)
        return nothingToResume("the model file is missing or cannot be read");
    if (run.folder.isUniversal && run.groups.empty())
        return nothingToResume("the model file has no param_shapes, which say what the optimizer's groups hold");
    if (run.stage == Stage::LegacyZero1)
        return Error{ErrorCode::Unsupported, "the layout of ZeRO-1 before 0.3.17, which no current version resumes from; convert the weights instead"};
    if (!run.firstOptimizer() && run.optimizers.size() != 1)
        return nothingToResume(run.optimizers.empty() ? "no optimizer file of the run is here" : fmt::format("no optimizer file of mp_rank_{:02d} is here", run.folder.mpRank));
    for (const auto& [rank, file] : run.optimizers) {
        if (!file.torch)
            return nothingToResume(fmt::format("the optimizer file of rank {} ({}) is missing or cannot be read", rank, printable(file.name)));
        if (file.torch->isBigEndian())
            return Error{ErrorCode::Unsupported, "files of a big-endian machine"};
    }
    const bool isElastic = run.stage != Stage::Zero3 && run.optimizerState(*run.firstOptimizer()).find("base_optimizer_state").kind() == pickle::Kind::List;
    if (isElastic && options.zeroStage == 3u)
        return nothingToResume("the run was saved with elastic_checkpoint, without param_groups, which ZeRO-3 needs");
    return {};
}

Result<std::unique_ptr<ReshardSource>> readForResuming(const CheckpointPtr& source, const TargetOptions& options, JobContext& job)
{
    if (options.select != Select::All && options.select != Select::Module)
        return nothingToResume(fmt::format("--select {}: a run exists to be resumed, and takes everything", nameOf(options.select)));
    if (source->formatId() != "deepspeed" && source->formatId() != "universal")
        return nothingToResume(fmt::format("{} holds no training state of a DeepSpeed engine", printable(source->formatTitle())));
    SHARDLENS_ASSIGN(const Candidate candidate, lookAt(source->folder()));
    SHARDLENS_ASSIGN(const TagFolder folder, resolve(candidate, {}));
    if (isParallel(folder))
        return readParallelForResuming(candidate, options, job);
    if (options.select != Select::All)
        return nothingToResume(fmt::format("--select {}: a run exists to be resumed, and takes everything", nameOf(options.select)));
    if (options.tp.value_or(1) != 1 || options.pp.value_or(1) != 1 || options.ep || options.rank)
        return Error{ErrorCode::Refused, "--tp, --pp, --ep and --rank are for runs of tensor, pipeline or expert parallel ranks, and this is none"};
    auto out = std::make_unique<ReshardSource>();
    SHARDLENS_ASSIGN(out->read, readRun(candidate, {}, job));
    Run& run = *out->read.run;
    if (run.isModuleAlone)
        return moduleAlone(run);
    SHARDLENS_TRY(checkSource(run, options));
    SHARDLENS_TRY(checkOrder(run, *source));
    Reshard& reshard = out->reshard;
    reshard.run = &run;
    SHARDLENS_ASSIGN(reshard.stage, targetStage(run, options));
    reshard.zeroStage = numberOf(reshard.stage);
    reshard.world = options.dp.value_or(run.world);
    reshard.keepObjects = options.keepObjects;
    SHARDLENS_TRY(checkExperts(run, reshard));
    const auto addStorages = [&](const RankFile& file) { return addStorageTensors(run.builder, file.id, *file.torch, reshard.storages); };
    SHARDLENS_TRY(addStorages(run.model));
    for (const auto& [rank, file] : run.stage3Models)
        if (file.torch && file.torch != run.model.torch)
            SHARDLENS_TRY(addStorages(file));
    SHARDLENS_TRY(addStorages(run.optimizers.at(*run.firstOptimizer())));
    for (const ExpertFile& expert : run.expertFiles)
        SHARDLENS_TRY(addStorages(expert.file));
    for (const auto& [parameter, files] : run.universalSamples)
        for (const auto& [state, file] : files)
            SHARDLENS_TRY(addStorages(file));
    reshard.payload = std::move(run.builder).finish();
    out->tensors = tensorsByName(*reshard.payload);
    reshard.tensors = &out->tensors;
    reshard.names = &out->read.names;
    SHARDLENS_ASSIGN(reshard.groups, trainedGroups(run, out->tensors));
    return out;
}

void addResults(const Reshard& reshard, const Checkpoint& source, Target& out)
{
    const bool keepsModule = reshard.stage != Stage::Zero3;
    for (const SelectedTensor& selected : selectTensors(source, SelectionOptions{Select::All, {}, {}})) {
        if (source.roleOf(selected.tensor).kind == RoleKind::Other || (source.roleOf(selected.tensor).kind == RoleKind::Module && !keepsModule))
            continue;
        out.results.push_back({selected.name, selected.tensor, source.tensor(selected.tensor).dtype});
    }
}

Result<Target> layOut(const CheckpointPtr& source, const TargetOptions& options, JobContext& job)
{
    SHARDLENS_ASSIGN(auto prepared, readForResuming(source, options, job));
    if (prepared->parallel)
        return layOutParallel(*prepared, *source, options, job);
    Reshard& reshard = prepared->reshard;
    Target out;
    SHARDLENS_TRY(addFiles(reshard, job, out));
    addResults(reshard, *source, out);
    out.before = TargetLayout{titleOf(reshard.run->stage), reshard.run->world};
    out.after = TargetLayout{titleOf(reshard.stage), reshard.world};
    out.payload = std::move(reshard.payload);
    return out;
}

} // namespace shardlens::deepspeed
