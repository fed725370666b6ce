#include "core/format/sdloader/sdloader_format.h"

#include "core/base/text.h"
#include "core/format/sdloader/dequantized_ranks.h"
#include "core/format/sdloader/inference_set.h"
#include "core/format/sdloader/quantized_names.h"
#include "core/format/sdloader/quantized_ranks.h"
#include "core/format/sdloader/rank_set.h"
#include "core/format/target_file.h"
#include "core/layout/selection.h"
#include "core/quantized/source_quantization.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <set>
#include <unordered_map>

namespace shardlens::sdloader {
namespace {

// "x/mp_rank_03/model_optim_rng.pt" → {"mp_rank_", "03", "/model_optim_rng.pt"}: the parts of a rank file's name from the rank on.
struct RankName {
    std::string before = "mp_rank_";
    std::string after = "_model_states.pt";
};

RankName rankNameOf(const std::string& name)
{
    for (const char* marker : {"mp_rank_", "-model_"}) {
        const std::size_t at = name.rfind(marker);
        if (at == std::string::npos)
            continue;
        const std::size_t folder = marker[0] == 'm' ? at : name.find_last_of('/', at) + 1; // npos + 1 is the beginning
        const std::size_t digits = at + std::string_view(marker).size();
        std::size_t end = digits;
        while (end < name.size() && name[end] >= '0' && name[end] <= '9')
            ++end;
        if (end != digits)
            return {name.substr(folder, digits - folder), name.substr(end)};
    }
    return {};
}

// Puts the rank files of a target together.
class RankFiles {
public:
    RankFiles(RankSet& set, const CheckpointPtr& joined, const TargetOptions& options, const QuantizedRanks* quantized)
        : m_set(set), m_joined(joined), m_options(options), m_quantized(quantized), m_ranks(options.tp.value_or(static_cast<std::uint32_t>(set.ranks.size()))), m_builder(*joined),
          m_import(PieceImport::within(m_builder, *joined)), m_name(rankNameOf(set.ranks.front().name))
    {
        for (std::size_t i = 0; i < joined->tensors().size(); ++i)
            m_tensorOf.emplace(joined->parameterOf(idAt<TensorId>(i)), idAt<TensorId>(i));
    }

    Status add(JobContext& job, Target& out)
    {
        for (std::uint32_t rank = m_options.rank.value_or(0); rank < (m_options.rank ? *m_options.rank + 1 : m_ranks); ++rank) {
            SHARDLENS_TRY(job.poll());
            SHARDLENS_ASSIGN(const Selection from, select(m_set.ranks.size(), m_ranks, rank, true, false));
            SHARDLENS_ASSIGN(TargetTorchFile file, rankFile(rank, m_set.ranks[from.file]));
            out.torchFiles.push_back(std::move(file));
        }
        return {};
    }
    [[nodiscard]] std::string nameOf(std::uint32_t rank) const { return fmt::format("{}{:02d}{}", m_name.before, rank, m_name.after); }
    [[nodiscard]] std::uint32_t ranks() const { return m_ranks; }
    [[nodiscard]] const std::set<std::string>& leftOut() const { return m_leftOut; }
    [[nodiscard]] CheckpointPtr finish() && { return std::move(m_builder).finish(); }

private:
    // The tensor of a rank: a part of the joined one, as a tensor of its own, or that one itself where every rank has it whole.
    Result<TensorId> localTensor(const std::string& name, std::uint32_t rank)
    {
        const TensorId whole = m_tensorOf.at(name);
        const Tensor& tensor = m_joined->tensor(whole);
        if (tensor.shape.empty())
            return whole;
        SHARDLENS_ASSIGN(const ShardRule* rule, m_set.rules.ruleFor(name, m_set.facts));
        if (rule == nullptr || rule->kind != Division::Kind::Split || m_ranks == 1)
            return whole;
        SHARDLENS_ASSIGN(const Division division, divisionOf(*rule, tensor.shape, m_ranks, m_set.facts));
        Tensor local = tensor;
        local.shape = partShape(division, tensor.shape, rank);
        const TensorId id = m_builder.addTensor(local);
        for (const Slab& slab : slabsInto(division, tensor.shape, rank))
            SHARDLENS_TRY(m_import.addThrough(id, whole, slab));
        return id;
    }

    // What the loader gives its caller beside the model, and no file of its own had.
    Status addScales(std::uint32_t rank, pickle::Value tree, TargetFileMaker& maker)
    {
        SHARDLENS_ASSIGN(auto scales, m_quantized->scalesOf(rank));
        Tensor tensor;
        tensor.parameter = m_builder.parameter(fmt::format("quantization_scales of rank {}", rank));
        tensor.role = m_builder.role(RoleKind::Other, "scales");
        tensor.dtype = DType::F32;
        tensor.shape = m_quantized->shape();
        tensor.quantizedPart = true;
        const TensorId id = m_builder.addTensor(tensor);
        SHARDLENS_TRY(m_builder.addWhole(id, {m_builder.addComputation(std::move(scales)).front(), 0, m_builder.holder({}), {}}));
        SHARDLENS_ASSIGN(const pickle::Value value, maker.whole(tensor, id));
        pickle::GraphBuilder& graph = maker.graph();
        graph.set(tree, kScalesKey, value);
        graph.set(tree, kMergeCountKey, graph.integer(m_quantized->mergeCount()));
        const pickle::Value layout = graph.dict(); // for whoever wants the values again: the scales do not say it
        graph.set(layout, kGroupsKey, graph.integer(static_cast<std::int64_t>(m_options.sdloaderInt8->groups)));
        graph.set(layout, kExtraGroupingKey, graph.boolean(m_options.sdloaderInt8->mlpExtraGrouping));
        graph.set(layout, kCutsKey, graph.integer(m_quantized->cuts()));
        graph.set(layout, kRulesKey, graph.text(m_set.rules.id));
        graph.set(tree, kLayoutKey, layout);
        return {};
    }

    Result<TargetTorchFile> rankFile(std::uint32_t rank, RankSet::Rank& from)
    {
        const auto& file = from.content.torch;
        if (m_withStorages.insert(file.get()).second)
            SHARDLENS_TRY(addStorageTensors(m_builder, from.id, *file, m_storages));
        TargetFileMaker maker(m_storages, m_options.keepObjects, nameOf(rank));
        std::unordered_map<std::uint32_t, pickle::Value> made; // by the value's place in the source's tree
        for (std::size_t i = 0; i < from.content.values.size(); ++i) {
            const std::string& name = from.content.checkpoint->parameterOf(idAt<TensorId>(i));
            auto local = localTensor(name, rank);
            if (!local)
                return local.takeError().within(printable(name));
            SHARDLENS_ASSIGN(const pickle::Value tensor, maker.whole(m_builder.tensor(*local), *local));
            made.emplace(from.content.values[i].index(), tensor);
        }
        const pickle::Value root = file->root();
        const pickle::Value worldSize = root.find("mp_world_size");
        using Fate = pickle::GraphBuilder::Fate;
        SHARDLENS_ASSIGN(const pickle::Value tree, maker.tree().import(file, root, [&](pickle::Value value) -> Fate {
            if (worldSize && value == worldSize)
                return {Fate::Kind::Replace, maker.graph().integer(m_ranks)};
            const auto known = made.find(value.index());
            return known == made.end() ? Fate{} : Fate{Fate::Kind::Replace, known->second};
        }));
        if (m_quantized != nullptr)
            SHARDLENS_TRY(addScales(rank, tree, maker));
        SHARDLENS_ASSIGN(TargetTorchFile out, std::move(maker).finish(tree, m_leftOut));
        out.rank = rank;
        return out;
    }

    RankSet& m_set;
    const CheckpointPtr& m_joined;
    const TargetOptions& m_options;
    const QuantizedRanks* m_quantized; // where weights are quantized
    std::uint32_t m_ranks;
    CheckpointBuilder m_builder;
    PieceImport m_import;
    RankName m_name;
    std::map<std::string, TensorId> m_tensorOf;
    StorageTensors m_storages;
    std::set<const TorchFile*> m_withStorages;
    std::set<std::string> m_leftOut;
};

Status checkTargetOptions(const TargetOptions& options, std::uint32_t ranks)
{
    if (options.select != Select::All)
        return Error{ErrorCode::Refused, fmt::format("--select {}: rank files hold all of the model", nameOf(options.select))};
    if (options.dp || options.pp || options.ep || options.zeroStage)
        return Error{ErrorCode::Refused, fmt::format("{} means nothing for sdloader, which has tensor-parallel ranks only: --tp", options.dp ? "--dp" : options.pp ? "--pp" : options.ep ? "--ep" : "--zero-stage")};
    if (ranks == 0)
        return Error{ErrorCode::Refused, "--tp 0: at least one rank is needed"};
    if (options.rank && *options.rank >= ranks)
        return Error{ErrorCode::Refused, fmt::format("--rank {}: the target has the ranks 0 to {}", *options.rank, ranks - 1)};
    return {};
}

void addTargetNotes(const RankSet& set, const TargetOptions& options, std::uint32_t ranks, const std::set<std::string>& leftOut, Target& out)
{
    using Kind = TargetNote::Kind;
    out.notes.push_back({Kind::Kept, "Rank files", fmt::format("{} become {}, by the rules {}; what lies beside the model comes from the first source file of each.",
                                                               plural(set.ranks.size(), "file", "files"), ranks, printable(set.rules.id))});
    if (options.rank)
        out.notes.push_back({Kind::Info, "One rank", fmt::format("Only the file of rank {} is written, without a list.", *options.rank)});
    for (const std::string& name : leftOut)
        out.leftOut += (out.leftOut.empty() ? "" : ", ") + printable(name);
    if (!leftOut.empty())
        out.notes.push_back({Kind::Dropped, "Unknown objects", fmt::format("Objects of classes on no list of known ones are left out: {}. --keep-objects writes them as they are.", out.leftOut)});
}

void addQuantizedNotes(const QuantizedRanks& quantized, const SdloaderInt8& options, Target& out)
{
    using Kind = TargetNote::Kind;
    out.notes.push_back({Kind::Cast, "Quantized", fmt::format("{} of each file to INT8 ({}, {}), as MegatronSDLoader does: {}. Scales and merge count lie beside the model, as quantization_scales {} and quantize_merge_count; --dequantize finds groups and cuts in quantization_layout.",
                                                              plural(quantized.weights(), "weight", "weights"), plural(options.bits, "bit", "bits"), plural(options.groups, "group", "groups"),
                                                              quantized.mergeCount() > 1 ? "each file by itself, then joined" : quantized.cuts() > 1 ? "each file as a whole, then cut" : "each file by itself", shapeText(quantized.shape()))});
    if (quantized.cuts() > 1)
        out.notes.push_back({Kind::Warning, "Scales of cut files", "DeepSpeed fails here and says no layout: each row of scales is cut into as many equal runs as the file, or is whole where it cannot be. Parts cut by columns hold values of all groups."});
}

// Says that weights are codes, and marks them.
void describeQuantized(RankSet& set)
{
    if (std::none_of(set.ranks.begin(), set.ranks.end(), isQuantized))
        return;
    std::uint64_t weights = 0;
    for (std::size_t i = 0; i < set.builder.tensorCount(); ++i) {
        const Tensor& tensor = set.builder.tensor(idAt<TensorId>(i));
        if (tensor.dtype != DType::I8 || scaleRowOf(set.builder.parameters()[indexOf(tensor.parameter)]) == kScaleRows)
            continue;
        set.builder.markQuantizedPart(idAt<TensorId>(i));
        ++weights;
    }
    set.builder.addFact(kQuantizedBy, "MegatronSDLoader");
    set.builder.addFact(kQuantizedAs, fmt::format("sdloader-int8 ({})", plural(weights, "weight", "weights")));
    const auto warn = [&](std::string text) { set.builder.addFinding({Severity::Warning, kWeightFinding, std::move(text), kNoTensor, kNoFile, std::nullopt}); };
    for (const RankSet::Rank& rank : set.ranks) {
        if (rank.content.torch && !isQuantized(rank))
            return warn(fmt::format("{} has no {}, and other files of the set have: --dequantize needs those of all.", printable(rank.name), kScalesKey));
        if (rank.content.torch && !rank.content.torch->root().find(kLayoutKey))
            return warn(fmt::format("{} has no {} beside its scales, which says how many values each is for: the INT8 weights cannot be dequantized.", printable(rank.name), kLayoutKey));
    }
    set.builder.addFinding({Severity::Info, kWeightFinding, fmt::format("The scales of the INT8 weights lie beside the model in each file ({}), and are no tensors of it: --dequantize has the values.", kScalesKey), kNoTensor, kNoFile, std::nullopt});
}

Status checkFiles(const RankSet& set)
{
    for (const RankSet::Rank& rank : set.ranks)
        if (!rank.content.torch)
            return Error{ErrorCode::Refused, fmt::format("{} is missing or cannot be read", printable(rank.name))};
    return {};
}

} // namespace

Match probe(const Candidate& candidate)
{
    if (!candidate.isFolder) {
        const std::string_view head(reinterpret_cast<const char*>(candidate.head.data()), candidate.head.size());
        return candidate.path.ends_with(".json") && looksLikeList(head) ? Match::ByContent : Match::No;
    }
    const bool hasRankFiles = std::any_of(candidate.entries.begin(), candidate.entries.end(), [](const DirectoryEntry& entry) {
        return entry.isFolder || entry.name.ends_with(".pt");
    });
    if (!hasRankFiles)
        return Match::No;
    const auto list = listOf(candidate);
    return list || list.error().code() == ErrorCode::Refused ? Match::ByContent : Match::No; // several: opening says which there are
}

Result<CheckpointPtr> open(const Candidate& candidate, const OpenOptions& options, JobContext& job)
{
    SHARDLENS_ASSIGN(ListFile file, readListOf(candidate));
    if (file.list.type == FactoryList::Type::Inference && options.dequantize)
        return Error{ErrorCode::Refused, "--dequantize is for quantized weights, and none are stored here"};
    if (file.list.type == FactoryList::Type::Inference)
        return openInferenceSet(candidate, file, options, job);
    const PrepareRanks dequantize = [&](RankSet& ranks) { return dequantizeRanks(ranks, job); };
    SHARDLENS_ASSIGN(auto set, readRankSet(candidate, std::move(file), options, job, options.dequantize ? dequantize : PrepareRanks()));
    if (options.dequantize)
        set->builder.addFact(kDequantizedFrom, "sdloader-int8");
    else
        describeQuantized(*set);
    return std::move(set->builder).finish();
}

Result<Target> layOut(const CheckpointPtr& source, const TargetOptions& options, JobContext& job)
{
    if (source->formatId() != "sdloader")
        return Error{ErrorCode::Refused, fmt::format("rank files for the SDLoader are made of such files, and the source is {}", printable(source->formatTitle()))};
    SHARDLENS_ASSIGN(const Candidate candidate, lookAt(source->path()));
    SHARDLENS_ASSIGN(ListFile file, readListOf(candidate));
    std::optional<QuantizedRanks> quantized;
    if (options.open.dequantize)
        return Error{ErrorCode::Refused, "--dequantize makes one model of quantized rank files: convert to safetensors or torch"};
    const auto quantize = [&](RankSet& ranks) -> Status {
        SHARDLENS_TRY(checkFiles(ranks));
        if (std::any_of(ranks.ranks.begin(), ranks.ranks.end(), isQuantized))
            return Error{ErrorCode::Refused, "the source is quantized already: its scales lie beside the model; --dequantize to safetensors takes its values first, with what they have lost"};
        SHARDLENS_ASSIGN(quantized, QuantizedRanks::make(ranks, *options.sdloaderInt8, options.tp.value_or(static_cast<std::uint32_t>(ranks.ranks.size())), options.open));
        return {};
    };
    SHARDLENS_ASSIGN(auto set, readRankSet(candidate, std::move(file), options.open, job, options.sdloaderInt8 ? PrepareRanks(quantize) : PrepareRanks()));
    const CheckpointPtr joined = std::move(set->builder).finish();
    Target out;
    RankFiles files(*set, joined, options, quantized ? &*quantized : nullptr);
    SHARDLENS_TRY(checkTargetOptions(options, files.ranks()));
    SHARDLENS_TRY(select(set->ranks.size(), files.ranks(), 0, true, false));
    if (!joined->lostTensors().empty())
        return Error{ErrorCode::Refused, joined->lostTensors().front().problem};
    SHARDLENS_TRY(checkFiles(*set));
    if (files.ranks() != set->ranks.size() && std::any_of(set->ranks.begin(), set->ranks.end(), isQuantized))
        return Error{ErrorCode::Refused, fmt::format("--tp {}: the scales of quantized rank files are for {}; --dequantize to safetensors takes their values first", files.ranks(), plural(set->ranks.size(), "rank", "ranks"))};
    SHARDLENS_TRY(files.add(job, out));
    if (!options.rank) {
        std::vector<std::string> names;
        for (std::uint32_t rank = 0; rank < files.ranks(); ++rank)
            names.push_back(files.nameOf(rank));
        out.textFiles.push_back({set->listName, listText(set->list, names)});
        const Checkpoint& logical = quantized ? *joined : *source;
        if (quantized)
            out.logical = joined;
        for (const SelectedTensor& selected : selectTensors(logical, SelectionOptions{Select::All, {}, {}}))
            out.results.push_back({selected.name, selected.tensor, logical.tensor(selected.tensor).dtype});
    }
    addTargetNotes(*set, options, files.ranks(), files.leftOut(), out);
    if (quantized)
        addQuantizedNotes(*quantized, *options.sdloaderInt8, out);
    out.before = TargetLayout{source->formatTitle(), static_cast<std::uint32_t>(set->ranks.size())};
    out.after = TargetLayout{source->formatTitle(), files.ranks()};
    out.payload = std::move(files).finish();
    return out;
}

} // namespace shardlens::sdloader
