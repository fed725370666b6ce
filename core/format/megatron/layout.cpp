#include "core/format/megatron/megatron_format.h"

#include "core/base/text.h"
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
    return number ? fmt::format("iter_{:07d}", *number) : std::string("release");
}

// Makes the files of the target's ranks.
class RankWriter {
public:
    RankWriter(RankSet& set, const CheckpointPtr& joined, const TargetOptions& options, const Sizes& target)
        : m_set(set), m_joined(joined), m_options(options), m_target(target), m_builder(*joined), m_import(PieceImport::within(m_builder, *joined)), m_extras(modulesWithExtras())
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
                }
        return {};
    }
    [[nodiscard]] const std::set<std::string>& leftOut() const { return m_leftOut; }
    // Embeddings whose rows of padding are others than the source's: how many the target has.
    [[nodiscard]] const std::map<TensorId, std::uint64_t>& repadded() const { return m_repadded; }
    [[nodiscard]] CheckpointPtr finish() && { return std::move(m_builder).finish(); }

private:
    std::string nameOf(std::uint32_t tp, std::uint32_t pp, std::uint32_t ep) const
    {
        std::string folder = fmt::format("mp_rank_{:02d}", tp);
        if (m_target.pp > 1)
            folder += fmt::format("_{:03d}", pp);
        if (m_target.ep > 1)
            folder += fmt::format("_{:03d}", ep);
        return fmt::format("{}/{}/{}", iterationName(m_set), folder, kModelFile);
    }

    // Rows that the vocabulary takes on the target (§5.11): filled up anew where its size is known, else as it is.
    std::uint64_t vocabularyRows(std::uint64_t rows) const
    {
        const auto words = factNumber(m_set.facts, "vocab_size");
        if (!words || *words > rows)
            return rows;
        const std::uint64_t multiple = factNumber(m_set.facts, "make_vocab_size_divisible_by").value_or(128) * m_target.tp;
        return (*words + multiple - 1) / multiple * multiple;
    }

    Result<TensorId> localTensor(const Placed& placed, std::uint32_t tp)
    {
        const Tensor& tensor = m_joined->tensor(placed.tensor);
        if (tensor.shape.empty())
            return placed.tensor;
        SHARDLENS_ASSIGN(const ShardRule* rule, m_set.rules.ruleFor(placed.global, m_set.facts));
        if (rule == nullptr && m_target.tp == 1)
            return placed.tensor;
        if (rule == nullptr)
            return Error{ErrorCode::Refused, fmt::format("no tensor-parallel rule of {} matches it; --rules names a file with one", printable(m_set.rules.id))};
        if (rule->kind != Division::Kind::Split)
            return placed.tensor;
        Shape whole = tensor.shape;
        const bool isPadded = rule->vocabulary && rule->dim == 0 && vocabularyRows(whole[0]) != whole[0];
        if (rule->vocabulary && rule->dim == 0)
            m_paddedRows = whole[0] = vocabularyRows(whole[0]);
        if (isPadded)
            m_repadded[placed.tensor] = whole[0];
        SHARDLENS_ASSIGN(const Division division, divisionOf(*rule, whole, m_target.tp, m_set.facts));
        Tensor local = tensor;
        local.shape = partShape(division, whole, tp);
        const TensorId id = m_builder.addTensor(local);
        for (const Slab& slab : slabsInto(division, whole, tp))
            SHARDLENS_TRY(isPadded ? addPadded(id, placed.tensor, slab) : m_import.addThrough(id, placed.tensor, slab));
        return id;
    }

    // A slab of rows of the padded embedding, which is no tensor of the joined model: what it keeps, and copies of the last row.
    Status addPadded(TensorId target, TensorId whole, const Slab& slab)
    {
        const std::uint64_t had = m_joined->tensor(whole).shape[0];
        Slab kept = slab;
        const std::uint64_t begin = slab.from.offset[0];
        const std::uint64_t end = begin + slab.from.extent[0];
        if (begin < had) {
            kept.from.extent[0] = kept.to.extent[0] = std::min(end, had) - begin;
            SHARDLENS_TRY(m_import.addThrough(target, whole, kept));
        }
        for (std::uint64_t row = std::max(begin, had); row < end; ++row) {
            Slab last = slab;
            last.from.offset[0] = had - 1;
            last.to.offset[0] = slab.to.offset[0] + (row - begin);
            last.from.extent[0] = last.to.extent[0] = 1;
            SHARDLENS_TRY(m_import.addThrough(target, whole, last));
        }
        return {};
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
        if (m_paddedRows != 0)
            replace("padded_vocab_size", maker.graph().integer(static_cast<std::int64_t>(m_paddedRows)));
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

    // Names of modules that keep `_extra_state`, and have none of it: None.
    std::set<std::string> modulesWithExtras() const
    {
        constexpr std::string_view kExtra = "._extra_state";
        std::set<std::string> out;
        for (const Rank& rank : m_set.ranks) {
            const Value stored = rank.tp == 0 && rank.ep == 0 ? rank.content.torch->root().find("model") : Value{};
            for (std::size_t i = 0; i < stored.size(); ++i)
                if (const auto key = stored.keyAt(i).asText(); key && key->ends_with(kExtra) && stored.valueAt(i).isNone())
                    out.insert(inAnyLayer(std::string(key->substr(0, key->size() - kExtra.size()))));
        }
        return out;
    }

    Result<Value> modelDict(TargetFileMaker& maker, const std::vector<Placed>& placed, std::uint32_t tp)
    {
        const Value model = maker.graph().orderedDict();
        std::set<std::string> modules;
        for (const Placed& one : placed) {
            auto local = localTensor(one, tp);
            if (!local)
                return local.takeError().within(printable(one.global));
            SHARDLENS_ASSIGN(const Value tensor, maker.whole(m_builder.tensor(*local), *local));
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
            SHARDLENS_TRY(addStorageTensors(m_builder, from.id, *file, m_storages));
        TargetFileMaker maker(m_storages, m_options.keepObjects, nameOf(tp, pp, ep));
        SHARDLENS_ASSIGN(const Value model, modelDict(maker, placement.onRank(pp, ep), tp));
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
        return std::move(maker).finish(made, m_leftOut);
    }

    RankSet& m_set;
    const CheckpointPtr& m_joined;
    const TargetOptions& m_options;
    Sizes m_target;
    CheckpointBuilder m_builder;
    PieceImport m_import;
    std::set<std::string> m_extras; // modules, in any layer
    StorageTensors m_storages;
    std::set<const TorchFile*> m_withStorages;
    std::set<std::string> m_leftOut;
    std::uint64_t m_paddedRows = 0;
    std::map<TensorId, std::uint64_t> m_repadded;
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

void addTargetNotes(const RankSet& set, const Sizes& target, const RankWriter& writer, Target& out)
{
    using Kind = TargetNote::Kind;
    out.notes.push_back({Kind::Kept, "Model", fmt::format("{} become {}, by the rules {}.", sizesText(set.sizes), sizesText(target), printable(set.rules.id))});
    const Value root = set.firstRead()->content.torch->root();
    if (root.find("optimizer") || set.folder.hasDistributedOptimizer)
        out.notes.push_back({Kind::Dropped, "Optimizer state", "It is not carried over; start the job with --no-load-optim."});
    if (target.pp > 1)
        out.notes.push_back({Kind::Info, "Pipeline", "Layers are divided evenly over the stages, and no chunks of a virtual pipeline are made."});
    for (const std::string& name : writer.leftOut())
        out.leftOut += (out.leftOut.empty() ? "" : ", ") + printable(name);
    if (!out.leftOut.empty())
        out.notes.push_back({Kind::Dropped, "Unknown objects", fmt::format("Objects of classes on no list of known ones are left out: {}. --keep-objects writes them as they are.", out.leftOut)});
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
    RankWriter writer(*set, joined, options, target);
    SHARDLENS_TRY(writer.add(placement, job, out));
    if (!options.rank) {
        const std::string iteration = iterationName(*set);
        const std::string digits = iteration.substr(std::min(iteration.find_first_not_of("iter_0"), iteration.size() - 1));
        out.textFiles.push_back({kTrackerFile, iteration == "release" ? iteration : digits});
        for (const SelectedTensor& selected : selectTensors(*source, SelectionOptions{Select::All, {}, {}}))
            if ((!selected.isAlias || target.pp > 1) && !writer.repadded().contains(selected.tensor)) // which is no longer equal
                out.results.push_back({selected.name, selected.tensor, source->tensor(selected.tensor).dtype});
    }
    for (const auto& [tensor, rows] : writer.repadded())
        out.notes.push_back({TargetNote::Kind::Info, "Vocabulary",
                             fmt::format("{} has {} rows and gets {}, the multiple that tensor parallel {} wants: rows too many are cut off, rows too few are copies of the last.",
                                         printable(joined->parameterOf(tensor)), groupedText(joined->tensor(tensor).shape[0]), groupedText(rows), target.tp)});
    addTargetNotes(*set, target, writer, out);
    out.before = TargetLayout{source->formatTitle(), set->sizes.tp * set->sizes.pp * set->sizes.ep};
    out.after = TargetLayout{source->formatTitle(), target.tp * target.pp * target.ep};
    out.payload = std::move(writer).finish();
    return out;
}

} // namespace shardlens::megatron
