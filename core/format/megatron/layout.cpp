#include "core/format/megatron/megatron_format.h"

#include "core/base/text.h"
#include "core/format/megatron/local_tensors.h"
#include "core/format/megatron/optimizer_writer.h"
#include "core/format/megatron/placement.h"
#include "core/format/target_file.h"
#include "core/layout/selection.h"

#include <fmt/format.h>

#include <algorithm>
#include <set>

namespace shardlens::megatron {
namespace {

using pickle::Value;
using Fate = pickle::GraphBuilder::Fate;

// The folder's own name, or what its iteration would be called where somebody has renamed it.
std::string iterationName(const RankSet& set)
{
    if (isIterationName(set.folder.name))
        return set.folder.name;
    const auto number = factNumber(set.facts, "iteration");
    return number ? iterationFolderName(*number) : std::string("release");
}

// Makes the files of the target's ranks.
class RankWriter {
public:
    // Without `optimizer` its states are left out.
    RankWriter(RankSet& set, LocalTensors& parts, OptimizerWriter* optimizer, const TargetOptions& options, const Sizes& target)
        : m_set(set), m_parts(parts), m_optimizer(optimizer), m_options(options), m_target(target), m_extras(modulesWithExtras()), m_expertsAreModules(expertsAreModules())
    {
    }

    Status add(const Placement& placement, JobContext& job, Target& out)
    {
        std::uint32_t number = 0;
        for (std::uint32_t pp = 0; pp < m_target.pp; ++pp)
            for (std::uint32_t ep = 0; ep < m_target.ep; ++ep)
                for (std::uint32_t tp = 0; tp < m_target.tp; ++tp, ++number) {
                    SHARDLENS_TRY(job.poll());
                    if (m_options.rank && *m_options.rank != number)
                        continue;
                    SHARDLENS_ASSIGN(TargetTorchFile file, rankFile(placement, tp, pp, ep));
                    file.rank = number;
                    out.torchFiles.push_back(std::move(file));
                    if (m_optimizer == nullptr || m_set.optimizer.kind != OptimizerKept::Kind::Distributed)
                        continue;
                    TargetFileMaker maker(m_storages, m_options.keepObjects, nameOf(tp, pp, ep, kFlatStatesFile));
                    SHARDLENS_ASSIGN(const Value buffers, m_optimizer->buffers(maker, placement.onRank(pp, ep), {tp, pp, ep}));
                    SHARDLENS_ASSIGN(TargetTorchFile states, std::move(maker).finish(buffers, m_leftOut));
                    states.rank = number;
                    out.torchFiles.push_back(std::move(states));
                }
        return {};
    }
    [[nodiscard]] const std::set<std::string>& leftOut() const { return m_leftOut; }

private:
    std::string nameOf(std::uint32_t tp, std::uint32_t pp, std::uint32_t ep, const char* file) const
    {
        std::string folder = fmt::format("mp_rank_{:02d}", tp);
        if (m_target.pp > 1)
            folder += fmt::format("_{:03d}", pp);
        if (m_target.ep > 1)
            folder += fmt::format("_{:03d}", ep);
        return fmt::format("{}/{}/{}", iterationName(m_set), folder, file);
    }

    // args with the target's sizes; objects stay what they are, only the numbers are new.
    Result<Value> arguments(TargetFileMaker& maker, const std::shared_ptr<const TorchFile>& file, Value args)
    {
        std::map<std::uint32_t, Value> changed;
        const auto replace = [&](const char* name, Value with) {
            const Value held = args.attribute(name) ? args.attribute(name) : args.find(name);
            if (held && !held.isNone())
                changed.emplace(held.index(), with);
        };
        replace("tensor_model_parallel_size", maker.graph().integer(m_target.tp));
        replace("model_parallel_size", maker.graph().integer(m_target.tp));
        replace("pipeline_model_parallel_size", maker.graph().integer(m_target.pp));
        replace("expert_model_parallel_size", maker.graph().integer(m_target.ep));
        replace("expert_tensor_parallel_size", maker.graph().integer(m_target.tp));
        for (const char* name : {"virtual_pipeline_model_parallel_size", "num_layers_per_virtual_pipeline_stage", "decoder_first_pipeline_num_layers", "decoder_last_pipeline_num_layers",
                                 "pipeline_model_parallel_layout"})
            replace(name, maker.graph().none());
        if (m_set.hadGroupedExperts) { // the classes that read the names of what they are taken apart into (§5.6)
            replace("moe_grouped_gemm", maker.graph().boolean(!m_expertsAreModules));
            replace("moe_use_legacy_grouped_gemm", maker.graph().boolean(false));
        }
        if (m_parts.paddedRows() != 0)
            replace("padded_vocab_size", maker.graph().integer(static_cast<std::int64_t>(m_parts.paddedRows())));
        return maker.tree().import(file, args, [&](Value value) -> Fate {
            const auto known = changed.find(value.index());
            return known == changed.end() ? Fate{} : Fate{Fate::Kind::Replace, known->second};
        });
    }

    // The rank of the source whose file gives what lies beside the model.
    const Rank& sourceOf(std::uint32_t tp, std::uint32_t pp, std::uint32_t ep) const
    {
        const Sizes& had = m_set.sizes;
        return *m_set.at(tp * had.tp / m_target.tp, pp * had.pp / m_target.pp, ep * had.ep / m_target.ep);
    }

    // A module's name whatever its layer: stages of the target have other numbers.
    std::string inAnyLayer(const std::string& module) const
    {
        const auto layer = layerOf(m_set.rules, module);
        return layer ? withNumber(module, layer->number, 0) : module;
    }

    // Names of modules that keep `_extra_state`, and have none of it: None. Chunks of a virtual pipeline have their models beside each other.
    std::set<std::string> modulesWithExtras() const
    {
        std::set<std::string> out;
        for (const Rank& rank : m_set.ranks) {
            if (rank.tp != 0 || rank.ep != 0)
                continue;
            const Value root = rank.content.torch->root();
            addExtrasOf(root.find("model"), out);
            for (std::uint32_t chunk = 0; chunk < m_set.sizes.chunks && m_set.sizes.chunks > 1; ++chunk)
                addExtrasOf(root.find(fmt::format("model{}", chunk)), out);
        }
        return out;
    }
    void addExtrasOf(Value stored, std::set<std::string>& out) const
    {
        constexpr std::string_view kExtra = "._extra_state";
        for (std::size_t i = 0; i < stored.size(); ++i)
            if (const auto key = stored.keyAt(i).asText(); key && key->ends_with(kExtra) && stored.valueAt(i).isNone())
                out.insert(inAnyLayer(std::string(key->substr(0, key->size() - kExtra.size()))));
    }

    // Whether an expert is a module of its own ("local_experts.3.") in the names that are written, not a number behind a tensor ("weight3").
    bool expertsAreModules() const
    {
        const auto& names = m_parts.joined().parameters();
        return std::any_of(names.begin(), names.end(), [&](const std::string& name) {
            const auto expert = expertOf(m_set.rules, name);
            return expert && expert->number.data() + expert->number.size() != name.data() + name.size();
        });
    }

    Result<Value> modelDict(TargetFileMaker& maker, const std::vector<Placed>& placed, std::uint32_t tp)
    {
        const Value model = maker.graph().orderedDict();
        std::set<std::string> modules;
        for (const Placed& one : placed) {
            auto local = m_parts.part(one.global, one.tensor, tp);
            if (!local)
                return local.takeError().within(printable(one.global));
            SHARDLENS_ASSIGN(const Value tensor, maker.whole(m_parts.builder().tensor(local->tensor), local->tensor));
            maker.graph().set(model, one.local, tensor);
            modules.insert(one.local.substr(0, one.local.find_last_of('.')));
        }
        for (const std::string& module : modules) // loading wants it there
            if (m_extras.contains(inAnyLayer(module)))
                maker.graph().set(model, module + "._extra_state", maker.graph().none());
        return model;
    }

    Result<TargetTorchFile> rankFile(const Placement& placement, std::uint32_t tp, std::uint32_t pp, std::uint32_t ep)
    {
        const Rank& from = sourceOf(tp, pp, ep);
        const auto& file = from.content.torch;
        if (m_withStorages.insert(file.get()).second)
            SHARDLENS_TRY(addStorageTensors(m_parts.builder(), from.id, *file, m_storages));
        TargetFileMaker maker(m_storages, m_options.keepObjects, nameOf(tp, pp, ep, kModelFile));
        const std::vector<Placed> placed = placement.onRank(pp, ep);
        SHARDLENS_ASSIGN(const Value model, modelDict(maker, placed, tp));
        const Value root = file->root();
        const Value made = maker.graph().dict();
        for (std::size_t i = 0; i < root.size(); ++i) {
            const std::string key(root.keyAt(i).asText().value_or(""));
            const bool isModel = key == "model" || (key.starts_with("model") && key.find_first_not_of("0123456789", 5) == std::string::npos);
            if (key == "optimizer" || isModel)
                continue;
            Value value;
            if (key == "args") {
                SHARDLENS_ASSIGN(value, arguments(maker, file, root.valueAt(i)));
            } else if (key == "checkpoint_version") {
                value = maker.graph().real(3.0);
            } else {
                SHARDLENS_ASSIGN(value, maker.tree().import(file, root.valueAt(i)));
            }
            maker.graph().set(made, key, value);
        }
        if (!root.find("checkpoint_version"))
            maker.graph().set(made, "checkpoint_version", maker.graph().real(3.0));
        maker.graph().set(made, "model", model);
        if (m_optimizer != nullptr && root.find("optimizer")) {
            SHARDLENS_ASSIGN(const Value optimizer, m_optimizer->dictionary(maker, from, placed, tp));
            maker.graph().set(made, "optimizer", optimizer);
        }
        return std::move(maker).finish(made, m_leftOut);
    }

    RankSet& m_set;
    LocalTensors& m_parts;
    OptimizerWriter* m_optimizer;
    const TargetOptions& m_options;
    Sizes m_target;
    std::set<std::string> m_extras; // modules, in any layer
    bool m_expertsAreModules = false;
    StorageTensors m_storages;
    std::set<const TorchFile*> m_withStorages;
    std::set<std::string> m_leftOut;
};

Result<Sizes> targetSizes(const RankSet& set, const TargetOptions& options)
{
    if (options.select != Select::All)
        return Error{ErrorCode::Refused, fmt::format("--select {}: rank files hold all of the model", nameOf(options.select))};
    if (options.dp || options.zeroStage)
        return Error{ErrorCode::Refused, fmt::format("{} means nothing for Megatron-LM's rank files, which every data-parallel rank shares", options.dp ? "--dp" : "--zero-stage")};
    const Sizes out{options.tp.value_or(set.sizes.tp), options.pp.value_or(set.sizes.pp), options.ep.value_or(set.sizes.ep), 1};
    const std::uint64_t count = std::uint64_t{out.tp} * out.pp * out.ep;
    if (count == 0 || count > (1u << 16))
        return Error{ErrorCode::Refused, fmt::format("{} ranks, and 1 to {} are written", count, 1u << 16)};
    if (options.rank && *options.rank >= count)
        return Error{ErrorCode::Refused, fmt::format("--rank {}: the target has the ranks 0 to {}", *options.rank, count - 1)};
    return out;
}

std::string sizesText(const Sizes& sizes)
{
    std::string out = fmt::format("tensor {} x pipeline {}", sizes.tp, sizes.pp);
    return sizes.ep > 1 ? out + fmt::format(" x expert {}", sizes.ep) : out;
}

// `why` the optimizer's states are left out; empty where they are not.
TargetNote optimizerNote(const RankSet& set, const OptimizerWriter& optimizer, const std::string& why)
{
    using Kind = TargetNote::Kind;
    if (!why.empty())
        return {Kind::Dropped, "Optimizer state", fmt::format("It is not carried over; start the job with --no-load-optim. {}", why)};
    if (set.optimizer.kind == OptimizerKept::Kind::Plain)
        return {Kind::Kept, "Optimizer state", "Masters and states are cut like their parameters and numbered anew in the groups of the source."};
    return {Kind::Kept, "Optimizer state", fmt::format("{}: the {} of the source become coalesced buffers, as Megatron-LM has them since April 2024; {}.", kFlatStatesFile,
                                                      set.optimizer.storedAs, optimizer.layoutText())};
}

void addVocabularyNotes(const LocalTensors& parts, const Placement& placement, const Sizes& target, Target& out)
{
    for (const auto& [parameter, tensor] : placement.modelTensors())
        if (const auto rows = parts.repadded().find(tensor); rows != parts.repadded().end())
            out.notes.push_back({TargetNote::Kind::Info, "Vocabulary",
                                 fmt::format("{} has {} rows and gets {}, the multiple that tensor parallel {} wants: rows too many are cut off, rows too few are copies of the last{}.",
                                             printable(parameter), groupedText(parts.joined().tensor(tensor).shape[0]), groupedText(rows->second), target.tp,
                                             parts.repadded().size() > 2 ? ", and zeros in the optimizer's states" : "")});
}

void addTargetNotes(const RankSet& set, const Sizes& target, const RankWriter& writer, Target& out)
{
    using Kind = TargetNote::Kind;
    out.notes.push_back({Kind::Kept, "Model", fmt::format("{} become {}, by the rules {}.", sizesText(set.sizes), sizesText(target), printable(set.rules.id))});
    const auto groups = factNumber(set.facts, "num_query_groups");
    const auto isGrouped = set.facts.find("group_query_attention");
    if (groups && *groups % target.tp != 0 && isGrouped != set.facts.end() && isGrouped->second == "true")
        out.notes.push_back({Kind::Warning, "Query groups", fmt::format("{} on {}: Megatron-core before 0.16 refuses to load it.", plural(*groups, "query group", "query groups"),
                                                                        plural(target.tp, "tensor-parallel rank", "tensor-parallel ranks"))});
    if (set.hadGroupedExperts)
        out.notes.push_back({Kind::Info, "Experts", "Tensors that held all experts of a rank are written as one of each expert, which Megatron-LM's other expert classes read."});
    if (target.pp > 1)
        out.notes.push_back({Kind::Info, "Pipeline", "Layers are divided evenly over the stages, and no chunks of a virtual pipeline are made."});
    for (const std::string& name : writer.leftOut())
        out.leftOut += (out.leftOut.empty() ? "" : ", ") + printable(name);
    if (!out.leftOut.empty())
        out.notes.push_back({Kind::Dropped, "Unknown objects", fmt::format("Objects of classes on no list of known ones are left out: {}. --keep-objects writes them as they are.", out.leftOut)});
}

// What the result must hold: everything, or what the model itself held where the optimizer's states are left out.
void addResults(const Checkpoint& source, const LocalTensors& parts, const Sizes& target, bool hasStates, Target& out)
{
    for (const SelectedTensor& selected : selectTensors(source, SelectionOptions{hasStates ? Select::All : Select::Module, {}, {}}))
        if ((!selected.isAlias || target.pp > 1) && !parts.repadded().contains(selected.tensor)) // which is no longer equal
            out.results.push_back({selected.name, selected.tensor, source.tensor(selected.tensor).dtype});
}

} // namespace

Result<Target> layOut(const CheckpointPtr& source, const TargetOptions& options, JobContext& job)
{
    if (source->formatId() != "megatron")
        return Error{ErrorCode::Refused, fmt::format("Megatron-LM's rank files are made of such files, and the source is {}", printable(source->formatTitle()))};
    SHARDLENS_ASSIGN(const Candidate candidate, lookAt(source->folder()));
    OpenOptions open = options.open;
    open.tag.reset(); // the folder is the iteration's own
    SHARDLENS_ASSIGN(auto set, readRankSet(candidate, open, job));
    SHARDLENS_ASSIGN(const Sizes target, targetSizes(*set, options));
    const CheckpointPtr joined = std::move(set->builder).finish();
    for (const LostTensor& lost : joined->lostTensors())
        if (lost.role != RoleKind::OptimizerState)
            return Error{ErrorCode::Refused, lost.problem};
    for (const Rank& rank : set->ranks)
        if (!rank.content.torch)
            return Error{ErrorCode::Refused, fmt::format("{} is missing or cannot be read", printable(rank.name))};
    SHARDLENS_ASSIGN(const Placement placement, Placement::of(*set, *joined, target));
    Target out;
    LocalTensors parts(*set, joined, target);
    OptimizerWriter optimizer(*set, parts, target, job);
    const bool hasOptimizer = set->firstRead()->content.torch->root().find("optimizer") || set->folder.hasDistributedOptimizer || !joined->lostTensors().empty();
    const std::string why = optimizer.whyNot(placement);
    RankWriter writer(*set, parts, why.empty() ? &optimizer : nullptr, options, target);
    SHARDLENS_TRY(writer.add(placement, job, out));
    if (!options.rank) {
        out.textFiles.push_back({kTrackerFile, trackerText(iterationName(*set))});
        addResults(*source, parts, target, why.empty(), out);
    }
    addVocabularyNotes(parts, placement, target, out);
    addTargetNotes(*set, target, writer, out);
    if (hasOptimizer)
        out.notes.push_back(optimizerNote(*set, optimizer, why));
    out.before = TargetLayout{source->formatTitle(), set->sizes.tp * set->sizes.pp * set->sizes.ep};
    out.after = TargetLayout{source->formatTitle(), target.tp * target.pp * target.ep};
    out.payload = std::move(parts).finish();
    return out;
}

} // namespace shardlens::megatron
