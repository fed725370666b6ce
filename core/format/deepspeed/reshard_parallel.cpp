#include "core/format/deepspeed/reshard_stages.h"

#include "core/base/text.h"
#include "core/format/deepspeed/layer_writer.h"

#include <fmt/format.h>

#include <algorithm>
#include <deque>

namespace shardlens::deepspeed {
namespace {

using pickle::Value;

// Every rank of the source must be there and of one kind.
Status checkRanks(const ParallelRun& parallel, const TargetOptions& options)
{
    for (const ParallelRank& rank : parallel.ranks)
        if (!rank.opened.run)
            return nothingToResume(fmt::format("the model file of model-parallel rank {} (mp_rank_{:02d}) is missing or cannot be read", rank.pipe * parallel.tp + rank.model,
                                               rank.pipe * parallel.tp + rank.model));
    for (const LayerFile& layer : parallel.layers)
        if (!layer.content.checkpoint)
            return nothingToResume(fmt::format("the layer file {} is missing or cannot be read", printable(layer.name)));
    const Stage stage = parallel.firstRun()->stage;
    for (const ParallelRank& rank : parallel.ranks) {
        Run& run = *rank.opened.run;
        if (!run.model.torch) // a universal checkpoint is shown without it
            return nothingToResume(run.model.name.empty() ? "the model file is missing" : fmt::format("the model file {} cannot be read", printable(run.model.name)));
        if (run.isModuleAlone)
            return moduleAlone(run);
        if (run.stage != stage || run.world != parallel.dp)
            return Error{ErrorCode::Corrupt, "its model-parallel ranks are not of one run: they differ in ZeRO stage or number of data-parallel ranks"};
        if (run.expertRanks)
            return Error{ErrorCode::Unsupported, "a mixture of experts on several model-parallel ranks, which is not cut anew"};
        if (run.stage == Stage::None && run.module().isNone())
            continue; // a pipeline without ZeRO
        if (options.select == Select::Module)
            continue;
        SHARDLENS_TRY(checkSource(run, options));
    }
    return {};
}

ModuleNames mergedNames(const ParallelRun& parallel)
{
    ModuleNames out;
    for (const ParallelRank& rank : parallel.ranks) {
        const ModuleNames& names = rank.opened.names;
        out.buffers.insert(names.buffers.begin(), names.buffers.end());
        out.aliases.insert(names.aliases.begin(), names.aliases.end());
        out.trainable.insert(names.trainable.begin(), names.trainable.end());
        out.withMaster.insert(names.withMaster.begin(), names.withMaster.end());
    }
    return out;
}

// A universal checkpoint: group by group, what the model files of the further ranks list.
void addOtherGroups(Run& run)
{
    std::set<std::string> known;
    for (const ParameterGroup& group : run.groups)
        for (const ParameterShape& parameter : group)
            known.insert(parameter.name);
    for (const auto& groups : run.otherGroups)
        for (std::size_t g = 0; g < groups.size() && g < run.groups.size(); ++g)
            for (const ParameterShape& parameter : groups[g])
                if (known.insert(parameter.name).second)
                    run.groups[g].push_back(parameter);
    run.otherGroups.clear();
}

// The groups of the optimizer over all stages: a tied parameter stands once, with whole shapes.
Result<std::vector<TrainedGroup>> mergedGroups(const ParallelRun& parallel, const TensorsByName& tensors, const Checkpoint& joined)
{
    std::vector<TrainedGroup> out;
    std::set<std::string> seen;
    for (const ParallelRank& rank : parallel.ranks) {
        if (rank.model != 0)
            continue;
        addOtherGroups(*rank.opened.run);
        SHARDLENS_ASSIGN(auto groups, trainedGroups(*rank.opened.run, tensors));
        if (out.empty())
            out.resize(groups.size());
        if (groups.size() != out.size())
            return Error{ErrorCode::Refused, fmt::format("pipeline stage {} has {}, and the first has {}: which belong together cannot be told", rank.pipe,
                                                         plural(groups.size(), "optimizer group", "optimizer groups"), out.size())};
        for (std::size_t g = 0; g < groups.size(); ++g) {
            for (TrainedParameter& parameter : groups[g].parameters) {
                if (!seen.insert(parameter.name).second)
                    continue;
                parameter.shape = joined.tensor(*parameter.tensors->master).shape;
                parameter.count = elementCount(parameter.shape).value_or(0);
                out[g].parameters.push_back(std::move(parameter));
            }
            if (!out[g].hasState && groups[g].hasState) {
                out[g].states = std::move(groups[g].states);
                out[g].hasState = true;
            }
            if (!out[g].paramGroup)
                out[g].paramGroup = groups[g].paramGroup;
        }
    }
    return out;
}

// What the module is trained in, as the configuration says.
DType trainedIn(const Run& run)
{
    if (configOf(run, {"bf16", "enabled"}).asBool().value_or(false))
        return DType::BF16;
    return configOf(run, {"fp16", "enabled"}).asBool().value_or(false) ? DType::F16 : DType::F32;
}

// Puts the files of the target's ranks together.
class ParallelWriter {
public:
    ParallelWriter(ReshardSource& prepared, const TargetOptions& options, StageMap stages, std::uint32_t pp, std::uint32_t tp)
        : m_prepared(prepared), m_parallel(*prepared.parallel), m_options(options), m_stages(std::move(stages)), m_pp(pp), m_tp(tp), m_joined(prepared.reshard.payload)
    {
    }

    Status cut(JobContext& job)
    {
        CheckpointBuilder builder(*m_joined);
        LocalTensors cutter(builder, *m_joined, m_parallel.rules, m_parallel.facts, m_tp);
        m_local.resize(m_tp);
        for (std::uint32_t model = 0; model < m_tp; ++model)
            for (const auto& [name, tensors] : m_prepared.tensors) {
                SHARDLENS_TRY(job.poll());
                const bool hasNoStates = m_options.select == Select::Module || m_prepared.reshard.stage == Stage::None; // in the result
                auto local = cutter.of(name, tensors, model, hasNoStates);
                if (!local)
                    return local.takeError().within(printable(name));
                m_local[model].emplace(name, local.take());
            }
        m_prepared.reshard.payload = std::move(builder).finish();
        return {};
    }

    Status write(JobContext& job, Target& out)
    {
        const TagFolder& folder = m_parallel.folder;
        const std::string tag = folder.tag.empty() ? "global_step0" : folder.tag;
        for (std::uint32_t pipe = 0; pipe < m_pp; ++pipe)
            for (std::uint32_t model = 0; model < m_tp; ++model) {
                SHARDLENS_TRY(writeModels(tag, pipe, model, job, out));
                if (m_options.select == Select::All && m_prepared.reshard.stage != Stage::None)
                    SHARDLENS_TRY(writeOptimizers(tag, pipe, model, job, out));
            }
        const LayerFileOptions layers{tag, m_prepared.reshard.keepObjects, trainedIn(*m_prepared.reshard.run)};
        SHARDLENS_TRY(folder.layers.empty() ? writeNamedLayers(*m_joined, m_local, layers, *m_prepared.reshard.payload, job, m_leftOut, out)
                                            : writeLayers(m_parallel, m_local, layers, *m_prepared.reshard.payload, job, m_leftOut, out));
        out.textFiles.push_back({"latest", tag});
        return {};
    }

    [[nodiscard]] const std::set<std::string>& leftOut() const { return m_leftOut; }
    [[nodiscard]] const std::set<std::string>& random() const { return m_random; }

private:
    // What one rank of the target is made of.
    Reshard shareOf(std::uint32_t pipe, std::uint32_t model)
    {
        const std::uint32_t pipeBefore = pipe * m_parallel.pp / m_pp;
        const std::uint32_t modelBefore = model * m_parallel.tp / m_tp;
        const ParallelRank& from = m_parallel.ranks[m_parallel.isUniversal ? 0 : pipeBefore * m_parallel.tp + modelBefore];
        Reshard out = m_prepared.reshard;
        out.run = from.opened.run.get();
        out.names = m_parallel.folder.layers.empty() && !m_parallel.isUniversal ? &from.opened.names : &m_prepared.read.names;
        out.tensors = &m_local[model];
        Reshard::Stages stages{m_pp, m_tp, {}};
        for (const std::string& buffer : m_prepared.read.names.buffers)
            if (m_stages.stagesOf(buffer).contains(pipe))
                stages.buffers.push_back(buffer);
        out.stages = std::move(stages);
        for (TrainedGroup& group : out.groups) {
            std::erase_if(group.parameters, [&](const TrainedParameter& parameter) { return !m_stages.stagesOf(parameter.name).contains(pipe); });
            std::stable_partition(group.parameters.begin(), group.parameters.end(), [](const TrainedParameter& parameter) { return !tiedPrefixOf(parameter.name).empty(); });
            for (TrainedParameter& parameter : group.parameters) {
                parameter.tensors = &m_local[model].at(parameter.name);
                parameter.shape = m_prepared.reshard.payload->tensor(*parameter.tensors->master).shape;
                parameter.count = elementCount(parameter.shape).value_or(0);
            }
        }
        return out;
    }

    Status writeModels(const std::string& tag, std::uint32_t pipe, std::uint32_t model, JobContext& job, Target& out)
    {
        const Reshard share = shareOf(pipe, model);
        const bool isStage3 = share.stage == Stage::Zero3;
        for (std::uint32_t data = 0; data < (isStage3 ? share.world : 1); ++data) {
            SHARDLENS_TRY(job.poll());
            const std::string name = isStage3 ? fmt::format("zero_pp_rank_{}_mp_rank_{:02d}_model_states.pt", data, pipe * m_tp + model)
                                              : fmt::format("mp_rank_{:02d}_model_states.pt", pipe * m_tp + model);
            SHARDLENS_ASSIGN(auto file, modelFile(share, data, fmt::format("{}/{}", tag, name), m_leftOut, m_random));
            file.rank = (pipe * share.world + data) * m_tp + model;
            out.torchFiles.push_back(std::move(file));
        }
        return {};
    }

    Status writeOptimizers(const std::string& tag, std::uint32_t pipe, std::uint32_t model, JobContext& job, Target& out)
    {
        const Reshard share = shareOf(pipe, model);
        for (std::uint32_t data = 0; data < share.world; ++data) {
            SHARDLENS_TRY(job.poll());
            const std::string name = fmt::format("{}/{}zero_pp_rank_{}_mp_rank_{:02d}_optim_states.pt", tag, m_parallel.ranks.front().opened.run->folder.optimizerPrefix, data, pipe * m_tp + model);
            SHARDLENS_ASSIGN(auto file, optimizerFile(share, data, name, m_leftOut));
            file.rank = (pipe * share.world + data) * m_tp + model;
            out.torchFiles.push_back(std::move(file));
        }
        return {};
    }

    ReshardSource& m_prepared;
    ParallelRun& m_parallel;
    const TargetOptions& m_options;
    StageMap m_stages;
    std::uint32_t m_pp;
    std::uint32_t m_tp;
    CheckpointPtr m_joined;
    std::vector<TensorsByName> m_local; // by tensor-parallel rank of the target
    std::set<std::string> m_leftOut;
    std::set<std::string> m_random;
};

std::string joinedText(const std::set<std::string>& names)
{
    std::string out;
    for (const std::string& name : names)
        out += (out.empty() ? "" : ", ") + printable(name);
    return out;
}

std::string degreesText(std::uint32_t pp, std::uint32_t dp, std::uint32_t tp)
{
    return fmt::format("pipeline {} x data {} x tensor {}", pp, dp, tp);
}

void addParallelNotes(const ReshardSource& prepared, const TargetOptions& options, const StageMap& stages, std::uint32_t pp, std::uint32_t tp, Target& out)
{
    using Kind = TargetNote::Kind;
    const ParallelRun& parallel = *prepared.parallel;
    out.notes.push_back({Kind::Kept, "Ranks", fmt::format("{} becomes {}{}.", degreesText(parallel.pp, parallel.dp, parallel.tp), degreesText(pp, prepared.reshard.world, tp),
                                                          parallel.tp > 1 || tp > 1 ? fmt::format(", by the rules {}", printable(parallel.rules.id)) : "")});
    for (const std::string& note : stages.notes())
        out.notes.push_back({Kind::Info, "Pipeline", note});
    if (prepared.reshard.run->stage != Stage::Zero3 && prepared.reshard.stage == Stage::Zero3)
        out.notes.push_back({Kind::Dropped, "Module copies", "ZeRO-3 keeps none: it makes them from the masters when it resumes."});
    if (options.select == Select::Module)
        out.notes.push_back({Kind::Dropped, "Optimizer state", "Only the module's files are written: load them without optimizer states."});
    else if (prepared.reshard.stage == Stage::None)
        out.notes.push_back({Kind::Dropped, "Optimizer state", "Without ZeRO it numbers the parameters of each stage and is not carried over: load the result without optimizer states."});
}

// A stage that trains nothing has no optimizer to resume.
Status checkStages(const ReshardSource& prepared, const StageMap& stages, std::uint32_t pp)
{
    std::set<std::uint32_t> used;
    for (const auto& [name, tensors] : prepared.tensors)
        if (tensors.master || tensors.module)
            used.merge(stages.stagesOf(name));
    for (std::uint32_t stage = 0; stage < pp; ++stage)
        if (!used.contains(stage))
            return Error{ErrorCode::Refused, fmt::format("--pp {}: stage {} would hold no parameter, as the layers are cut ({} are used)", pp, stage, plural(used.size(), "stage", "stages"))};
    return {};
}

void addParallelResults(const ReshardSource& prepared, const Checkpoint& source, bool moduleOnly, Target& out)
{
    for (const SelectedTensor& selected : selectTensors(source, SelectionOptions{Select::All, {}, {}})) {
        const Tensor& tensor = source.tensor(selected.tensor);
        const RoleKind role = source.roleOf(selected.tensor).kind;
        const bool isState = role == RoleKind::OptimizerState;
        if (role == RoleKind::Other || (role == RoleKind::Module && prepared.reshard.stage == Stage::Zero3))
            continue;
        if (moduleOnly ? !tensor.moduleCopy : isState && prepared.reshard.stage == Stage::None)
            continue;
        out.results.push_back({selected.name, selected.tensor, tensor.dtype});
    }
}

} // namespace

Result<std::unique_ptr<ReshardSource>> readParallelForResuming(const Candidate& candidate, const TargetOptions& options, JobContext& job)
{
    auto out = std::make_unique<ReshardSource>();
    OpenOptions open = options.open;
    open.tag.reset(); // the folder is the tag's own
    SHARDLENS_ASSIGN(out->parallel, readParallelRun(candidate, open, job));
    ParallelRun& parallel = *out->parallel;
    SHARDLENS_TRY(checkRanks(parallel, options));
    Reshard& reshard = out->reshard;
    reshard.run = parallel.firstRun();
    reshard.stage = reshard.run->stage;
    if (reshard.stage != Stage::None) {
        SHARDLENS_ASSIGN(reshard.stage, targetStage(*reshard.run, options));
    } else if (options.zeroStage) {
        return Error{ErrorCode::Refused, "--zero-stage: the run has no ZeRO, and its optimizer states are not cut"};
    }
    reshard.zeroStage = numberOf(reshard.stage);
    reshard.world = options.dp.value_or(parallel.dp);
    reshard.keepObjects = options.keepObjects;
    for (const ParallelRank& rank : parallel.ranks) {
        const Run& run = *rank.opened.run;
        const auto add = [&](const RankFile& file) { return addStorageTensors(parallel.builder, rank.import->file(file.id), *file.torch, reshard.storages); };
        SHARDLENS_TRY(add(run.model));
        for (const auto& [parameter, files] : run.universalSamples)
            for (const auto& [state, file] : files)
                SHARDLENS_TRY(add(file));
        if (const auto first = run.firstOptimizer())
            SHARDLENS_TRY(add(run.optimizers.at(*first)));
    }
    for (const LayerFile& layer : parallel.layers)
        SHARDLENS_TRY(addStorageTensors(parallel.builder, layer.id, *layer.content.torch, reshard.storages));
    reshard.payload = std::move(parallel.builder).finish();
    if (!reshard.payload->lostTensors().empty())
        return Error{ErrorCode::Refused, reshard.payload->lostTensors().front().problem};
    out->tensors = tensorsByName(*reshard.payload);
    reshard.tensors = &out->tensors;
    out->read.names = mergedNames(parallel);
    reshard.names = &out->read.names;
    if (reshard.stage != Stage::None && options.select != Select::Module) {
        SHARDLENS_ASSIGN(reshard.groups, mergedGroups(parallel, out->tensors, *reshard.payload));
    } else if (reshard.stage != Stage::None) {
        auto groups = mergedGroups(parallel, out->tensors, *reshard.payload);
        if (groups)
            reshard.groups = groups.take();
    }
    return out;
}

Result<Target> layOutParallel(ReshardSource& prepared, const Checkpoint& source, const TargetOptions& options, JobContext& job)
{
    if (options.select != Select::All && options.select != Select::Module)
        return nothingToResume(fmt::format("--select {}: all, or module for the model's files alone", nameOf(options.select)));
    if (options.ep || options.rank)
        return Error{ErrorCode::Refused, options.ep ? "--ep: a run of model-parallel ranks is written at other --tp, --pp and --dp; its experts are not cut anew"
                                                    : "--rank: all ranks of a DeepSpeed run are written; one alone is for the lists of sdloader and for megatron"};
    const ParallelRun& parallel = *prepared.parallel;
    const std::uint32_t tp = options.tp.value_or(parallel.tp);
    const std::uint32_t pp = options.pp.value_or(parallel.pp);
    const std::uint64_t ranks = std::uint64_t{tp} * pp * prepared.reshard.world;
    if (tp == 0 || pp == 0 || ranks == 0 || ranks > (1u << 16))
        return Error{ErrorCode::Refused, fmt::format("{} ranks, and 1 to {} are written", ranks, 1u << 16)};
    if (prepared.reshard.zeroStage > 1 && (pp > 1 || !parallel.folder.layers.empty()))
        return Error{ErrorCode::Refused, fmt::format("ZeRO-{} on pipeline stages: DeepSpeed's pipeline engine resumes ZeRO-1 and runs without ZeRO only", prepared.reshard.zeroStage)};
    SHARDLENS_ASSIGN(StageMap stages, StageMap::of(parallel, *prepared.reshard.payload, pp));
    SHARDLENS_TRY(checkStages(prepared, stages, pp));
    Target out;
    ParallelWriter writer(prepared, options, stages, pp, tp);
    SHARDLENS_TRY(writer.cut(job));
    SHARDLENS_TRY(writer.write(job, out));
    addParallelResults(prepared, source, options.select == Select::Module, out);
    addParallelNotes(prepared, options, stages, pp, tp, out);
    using Kind = TargetNote::Kind;
    if (!writer.random().empty())
        out.notes.push_back({Kind::Dropped, "Random states", fmt::format("Not carried over, because they belong to ranks: {}.", joinedText(writer.random()))});
    out.leftOut = joinedText(writer.leftOut());
    if (!out.leftOut.empty())
        out.notes.push_back({Kind::Dropped, "Unknown objects", fmt::format("Objects of classes on no list of known ones are left out: {}. --keep-objects writes them as they are.", out.leftOut)});
    out.before = TargetLayout{titleOf(prepared.reshard.run->stage), parallel.pp * parallel.dp * parallel.tp};
    out.after = TargetLayout{titleOf(prepared.reshard.stage), pp * prepared.reshard.world * tp};
    out.payload = prepared.reshard.payload;
    return out;
}

} // namespace shardlens::deepspeed
