#include "core/format/deepspeed/deepspeed_format.h"

#include "core/base/checked.h"
#include "core/base/text.h"
#include "core/format/deepspeed/experts.h"
#include "core/format/deepspeed/facts.h"
#include "core/format/deepspeed/legacy_zero1.h"
#include "core/format/deepspeed/module_states.h"
#include "core/format/deepspeed/parallel.h"
#include "core/format/deepspeed/parameter_shapes.h"
#include "core/format/deepspeed/rank_files.h"
#include "core/format/deepspeed/stage0.h"
#include "core/format/deepspeed/universal.h"
#include "core/format/deepspeed/zero12.h"
#include "core/format/deepspeed/zero3.h"

#include <fmt/format.h>

namespace shardlens::deepspeed {
namespace {

// formats/deepspeed.md §1.5
Stage stageOf(const Run& run)
{
    const auto first = run.firstOptimizer();
    if (!first) {
        const bool zero3 = !run.stage3Models.empty() && run.folder.model.empty();
        if (zero3)
            return Stage::Zero3;
        // Without any optimizer file, param_shapes still says that ZeRO wrote this, and its files are missing.
        if (run.model.root().find("param_shapes").isNone())
            return Stage::None;
        return countOf(configOf(run.model.root(), {"zero_optimization", "stage"})) == 1u ? Stage::Zero1 : Stage::Zero2;
    }
    const pickle::Value state = run.optimizerState(*first);
    if (state.find("fp32_flat_groups"))
        return Stage::Zero3;
    if (state.find("local_sub_partitions_of_fp32_groups"))
        return Stage::LegacyZero1;
    const auto zeroStage = zeroStageOf(state.find("zero_stage"));
    if (!zeroStage)
        return Stage::Bf16Optimizer;
    // 0.4.0 to 0.6.7 write 2 for stage 1 as well; the configuration knows.
    const pickle::Value configured = configOf(run.optimizers.at(*first).root(), {"zero_optimization", "stage"});
    const pickle::Value inModel = configOf(run.model.root(), {"zero_optimization", "stage"});
    const auto said = countOf(configured) ? countOf(configured) : countOf(inModel);
    return said.value_or(*zeroStage) == 1 ? Stage::Zero1 : Stage::Zero2;
}

// Runs whose rank files do not hold everything, refused by name.
Status refuseByConfig(const Run& run)
{
    const pickle::Value zero = configOf(run.model.root(), {"zero_optimization"});
    if (const auto size = countOf(zero.find("mics_shard_size")); size.value_or(0) > 0)
        return Error{ErrorCode::Unsupported, fmt::format("a MiCS run (mics_shard_size {}): partitions lie over shard groups, which is not read", *size)};
    if (const auto size = countOf(zero.find("zero_hpz_partition_size")); size.value_or(0) > 1)
        return Error{ErrorCode::Unsupported, fmt::format("a ZeRO++ run with hierarchical partitions (zero_hpz_partition_size {}), which is not read", *size)};
    return {};
}

Status addOptimizer(Run& run, ModuleNames& names)
{
    switch (run.stage) {
    case Stage::None: {
        auto named = addStage0Optimizer(run, names);
        const bool isInLayers = run.module().isNone() && !run.folder.layers.empty();
        if (!named && isInLayers && named.error().code() != ErrorCode::Cancelled) { // its masters would be named by the module's copies
            run.find(Severity::Info, "optimizer-not-read", fmt::format("The optimizer in {} is not shown: {}.", run.builder.file(run.model.id).name, named.error().text()), run.model.id);
            return {};
        }
        SHARDLENS_ASSIGN(names.withMaster, std::move(named));
        return {};
    }
    case Stage::Zero3: {
        SHARDLENS_TRY(addSubGroups(run));
        return addFrozenFragments(run);
    }
    case Stage::LegacyZero1: return addLegacyGroups(run);
    case Stage::Zero1:
    case Stage::Zero2:
    case Stage::Bf16Optimizer: return addFlatGroups(run);
    }
    return {};
}

Status requireShapes(const Run& run)
{
    if (run.stage == Stage::None || !run.groups.empty())
        return {};
    return Error{ErrorCode::Unsupported, "no param_shapes: written by a version before 0.3.14, or without ZeRO; the flat fp32 vectors cannot be named"};
}

} // namespace

Match probeUniversal(const Candidate& candidate)
{
    if (!candidate.isFolder)
        return candidate.name() == "latest_universal" ? Match::ByName : Match::No;
    if (looksUniversal(candidate.entries))
        return looksLikeTagFolder(candidate.entries) || candidate.entry("latest") == nullptr ? Match::ByContent : Match::No;
    const bool isRoot = candidate.entry("latest") == nullptr && candidate.entry("latest_universal") != nullptr;
    return isRoot && !looksLikeTagFolder(candidate.entries) ? Match::ByContent : Match::No;
}

Match probe(const Candidate& candidate)
{
    if (probeUniversal(candidate) != Match::No)
        return Match::No;
    if (!candidate.isFolder)
        return candidate.name() == "latest" ? Match::ByName : Match::No;
    if (looksLikeTagFolder(candidate.entries))
        return Match::ByContent;
    return looksLikeRoot(candidate) ? Match::ByContent : Match::No;
}

Result<OpenedRun> readRun(const Candidate& candidate, const OpenOptions& options, JobContext& job, std::uint32_t mpRank)
{
    SHARDLENS_ASSIGN(TagFolder folder, resolve(candidate, options, mpRank));
    OpenedRun out{std::make_unique<Run>(candidate, std::move(folder)), {}};
    Run& run = *out.run;
    if (run.folder.isUniversal) {
        SHARDLENS_TRY(openUniversalFiles(run, job));
        run.stage = stageOf(run);
        SHARDLENS_TRY(readUniversal(run, out.names));
        addFacts(run);
        return out;
    }
    SHARDLENS_TRY(openRankFiles(run, job));
    SHARDLENS_TRY(refuseByConfig(run));
    run.stage = stageOf(run);
    SHARDLENS_TRY(readParameterShapes(run));
    if (run.stage == Stage::LegacyZero1)
        recoverLegacyShapes(run);
    SHARDLENS_TRY(requireShapes(run));
    SHARDLENS_TRY(openExperts(run));
    run.builder.setTopology(run.topology());
    ModuleNames& names = out.names;
    names = moduleNames(run);
    globalizeExpertNames(run, names);
    registerParameters(run, names);
    SHARDLENS_TRY(addOptimizer(run, names));
    SHARDLENS_TRY(job.poll());
    SHARDLENS_TRY(addModule(run, names));
    SHARDLENS_TRY(addExperts(run, names));
    addAliases(run, names);
    addFacts(run);
    return out;
}

Result<CheckpointPtr> open(const Candidate& candidate, const OpenOptions& options, JobContext& job)
{
    SHARDLENS_ASSIGN(const TagFolder folder, resolve(candidate, options));
    if (isParallel(folder)) {
        SHARDLENS_ASSIGN(auto run, readParallelRun(candidate, options, job));
        return std::move(run->builder).finish();
    }
    if (options.rules)
        return Error{ErrorCode::Refused, "--rules is for checkpoints of tensor-parallel ranks, and this run has none"};
    SHARDLENS_ASSIGN(OpenedRun opened, readRun(candidate, options, job));
    return std::move(opened.run->builder).finish();
}

} // namespace shardlens::deepspeed
