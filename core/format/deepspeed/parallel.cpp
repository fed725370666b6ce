#include "core/format/deepspeed/parallel.h"

#include "core/base/text.h"
#include "core/format/deepspeed/facts.h"
#include "core/layout/rank_join.h"
#include "core/layout/rule_library.h"

#include <fmt/format.h>

#include <algorithm>

namespace shardlens::deepspeed {
namespace {

using pickle::Value;

constexpr std::uint32_t kMostModelRanks = 1u << 14;

// A universal checkpoint: one run of whole tensors, and degrees for its layer files.
Status openUniversal(ParallelRun& run, const Candidate& candidate, const OpenOptions& options, JobContext& job)
{
    OpenOptions own = options;
    own.rules.reset();
    ParallelRank& rank = run.ranks.emplace_back();
    SHARDLENS_ASSIGN(rank.opened, readRun(candidate, own, job));
    const Value root = rank.opened.run->model.root();
    const std::uint64_t count = run.folder.otherModels.size() + 1;
    const auto tp = countOf(root.find("checkpoint_parallel_dimensions").find("tp_degree"));
    run.tp = 1;
    for (const auto& [index, files] : run.folder.layers)
        run.tp = std::max(run.tp, files.rbegin()->first + 1);
    if (tp && *tp > 0 && count % *tp == 0 && *tp <= kMostModelRanks)
        run.tp = static_cast<std::uint32_t>(*tp);
    run.pp = static_cast<std::uint32_t>(std::max<std::uint64_t>(count / run.tp, 1));
    run.dp = rank.opened.run->world;
    return {};
}

// What the first readable model file says of the model-parallel ranks, and the names (formats/deepspeed.md §1.4).
Status readDegrees(ParallelRun& run, std::uint32_t mpRanks)
{
    const Run& first = *run.firstRun();
    const Value root = first.model.root();
    run.dp = first.world;
    const Value sizes = root.find("checkpoint_parallel_dimensions");
    const auto tp = countOf(sizes.find("tp_degree"));
    if (tp && *tp > 0 && mpRanks % *tp == 0) {
        run.tp = static_cast<std::uint32_t>(*tp);
    } else if (run.folder.stageDegree) {
        run.tp = *run.folder.stageDegree;
    } else if (!run.folder.layers.empty()) {
        run.tp = 1;
        for (const auto& [index, files] : run.folder.layers)
            run.tp = std::max(run.tp, files.rbegin()->first + 1);
    } else {
        run.tp = mpRanks;
    }
    if (mpRanks % run.tp != 0)
        return Error{ErrorCode::Corrupt, fmt::format("{} model-parallel ranks cannot be {} tensor-parallel ranks on several stages", mpRanks, run.tp)};
    run.pp = mpRanks / run.tp;
    return {};
}

// How many model-parallel ranks there should be: what a model file says, or as many as there are names of.
std::uint32_t rankCount(const TagFolder& folder, const std::vector<ParallelRank>& ranks)
{
    for (const ParallelRank& rank : ranks)
        if (rank.opened.run)
            if (const auto said = countOf(rank.opened.run->model.root().find("mp_world_size")); said && *said > 0 && *said <= kMostModelRanks)
                return static_cast<std::uint32_t>(*said);
    return folder.mpRanks.empty() ? 1 : *folder.mpRanks.rbegin() + 1;
}

void addMissingRank(ParallelRun& run, ParallelRank& rank, std::uint32_t mpRank, const Error& error)
{
    const std::string name = modelRankName(run.folder, mpRank);
    File row = missingFile(fmt::format("{}/{}_model_states.pt", run.folder.path, name), name + "_model_states.pt");
    const bool isMissing = error.code() == ErrorCode::NotFound;
    if (!isMissing)
        row.state = File::State::Unreadable;
    rank.missing = run.builder.addFile(std::move(row));
    run.builder.addFinding({Severity::Error, isMissing ? "missing-file" : "unreadable-file",
                            fmt::format("Model-parallel rank {} ({}) cannot be read: {}. Its parameters are missing.", mpRank, name, error.text()), kNoTensor, rank.missing,
                            std::nullopt});
}

Status openRanks(ParallelRun& run, const Candidate& candidate, const OpenOptions& options, JobContext& job)
{
    std::vector<std::optional<Error>> problems;
    OpenOptions own = options;
    own.rules.reset();
    const auto open = [&](std::uint32_t mpRank) -> Status {
        SHARDLENS_TRY(job.poll());
        auto opened = readRun(candidate, own, job, mpRank);
        if (!opened && opened.error().code() == ErrorCode::Cancelled)
            return opened.takeError();
        run.ranks.emplace_back();
        problems.emplace_back();
        if (opened)
            run.ranks.back().opened = opened.take();
        else
            problems.back() = opened.takeError();
        return {};
    };
    const std::uint32_t named = run.folder.mpRanks.empty() ? 1 : *run.folder.mpRanks.rbegin() + 1;
    if (named > kMostModelRanks)
        return Error{ErrorCode::LimitExceeded, fmt::format("{} model-parallel ranks, at most {} are read", groupedText(named), groupedText(kMostModelRanks))};
    while (run.ranks.size() < named)
        SHARDLENS_TRY(open(static_cast<std::uint32_t>(run.ranks.size())));
    std::uint32_t count = std::max(named, rankCount(run.folder, run.ranks));
    if (const auto degree = run.folder.stageDegree) // the last stage may lack files
        count = (count + *degree - 1) / *degree * *degree;
    while (run.ranks.size() < count)
        SHARDLENS_TRY(open(static_cast<std::uint32_t>(run.ranks.size())));
    if (run.firstRun() == nullptr)
        return std::move(*problems.front());
    SHARDLENS_TRY(readDegrees(run, count));
    for (std::uint32_t mpRank = 0; mpRank < count; ++mpRank) {
        ParallelRank& rank = run.ranks[mpRank];
        rank.pipe = mpRank / run.tp;
        rank.model = mpRank % run.tp;
        if (problems[mpRank])
            addMissingRank(run, rank, mpRank, *problems[mpRank]);
    }
    return {};
}

std::string layerFileName(const ParallelRun& run, std::uint32_t index, std::uint32_t model)
{
    return run.folder.hasModelAxis ? fmt::format("layer_{:02d}-model_{:02d}-model_states.pt", index, model) : fmt::format("layer_{:02d}-model_states.pt", index);
}

// Layer numbers that some rank's param_shapes or buffer_names speak of, with the stages of these ranks: each has a file.
std::map<std::uint32_t, std::set<std::uint32_t>> namedLayers(const ParallelRun& run)
{
    std::map<std::uint32_t, std::set<std::uint32_t>> out;
    for (const ParallelRank& rank : run.ranks) {
        if (!rank.opened.run)
            continue;
        const auto take = [&](std::string_view name) {
            const std::size_t dot = name.find('.');
            if (dot != std::string_view::npos && dot > 0 && dot < 9 && name.substr(0, dot).find_first_not_of("0123456789") == std::string_view::npos)
                out[static_cast<std::uint32_t>(std::stoul(std::string(name.substr(0, dot))))].insert(rank.pipe);
        };
        for (const ParameterGroup& group : rank.opened.run->groups)
            for (const ParameterShape& parameter : group)
                take(parameter.name);
        for (const std::string& buffer : rank.opened.names.buffers)
            take(buffer);
    }
    return out;
}

Status openLayer(ParallelRun& run, std::uint32_t index, std::uint32_t model, JobContext& job)
{
    LayerFile& layer = run.layers.emplace_back();
    layer.index = index;
    layer.model = model;
    layer.prefix = fmt::format("{}.", index);
    const auto ofLayer = run.folder.layers.find(index);
    const bool isNamed = ofLayer != run.folder.layers.end() && ofLayer->second.contains(model);
    layer.name = isNamed ? ofLayer->second.at(model) : layerFileName(run, index, model);
    const std::string path = run.folder.path + "/" + layer.name;
    auto content = openRankStates(path, layer.name, [](Value root) -> Result<Value> { return root; }, job);
    if (content) {
        layer.content = content.take();
        return {};
    }
    const Error error = content.takeError();
    if (error.code() == ErrorCode::Cancelled)
        return error;
    File row = missingFile(path, layer.name);
    if (error.code() != ErrorCode::NotFound)
        row.state = File::State::Unreadable;
    layer.id = run.builder.addFile(std::move(row));
    run.builder.addFinding({Severity::Error, error.code() == ErrorCode::NotFound ? "missing-file" : "unreadable-file",
                            fmt::format("The file {} of layer {} {}. Buffers and frozen parameters lie nowhere else.", printable(layer.name), index,
                                        error.code() == ErrorCode::NotFound ? "is not in the folder" : fmt::format("cannot be read: {}", error.text())),
                            kNoTensor, layer.id, std::nullopt});
    return {};
}

Status openLayers(ParallelRun& run, JobContext& job)
{
    if (run.folder.layers.empty())
        return {};
    std::set<std::uint32_t> indices;
    if (!run.isUniversal) // DeepSpeed's converter copies none
        for (const auto& [index, stages] : namedLayers(run))
            indices.insert(index);
    for (const auto& [index, files] : run.folder.layers)
        indices.insert(index);
    for (const std::uint32_t index : indices)
        for (std::uint32_t model = 0; model < run.tp; ++model) {
            SHARDLENS_TRY(job.poll());
            SHARDLENS_TRY(openLayer(run, index, model, job));
        }
    return {};
}

std::vector<std::string> allNames(const ParallelRun& run)
{
    std::vector<std::string> out;
    for (const LayerFile& layer : run.layers)
        if (layer.content.checkpoint)
            for (const std::string& name : layer.content.checkpoint->parameters())
                out.push_back(layer.prefix + name);
    for (const ParallelRank& rank : run.ranks)
        if (rank.checkpoint)
            out.insert(out.end(), rank.checkpoint->parameters().begin(), rank.checkpoint->parameters().end());
    return out;
}

// The built-in family that knows most names.
RuleSet bestRules(const ParallelRun& run)
{
    const std::vector<std::string> names = allNames(run);
    const RuleSet* best = nullptr;
    std::size_t most = 0;
    for (const char* id : {"megatron-deepspeed", "megatron-core", "megatron-legacy"}) {
        const RuleSet& rules = builtInRules(id);
        const auto known = static_cast<std::size_t>(std::count_if(names.begin(), names.end(), [&](const std::string& name) {
            return std::any_of(rules.rules.begin(), rules.rules.end(), [&](const ShardRule& rule) { return rule.regex->search(name); });
        }));
        if (best == nullptr || known > most)
            best = &rules;
        most = std::max(most, known);
    }
    return *best;
}

// What the shapes of the ranks' parts say; an MLP that they do not prove to be gated is not.
void addShapeFacts(ParallelRun& run)
{
    std::map<std::string, Shape, std::less<>> shapes;
    const auto take = [&shapes](const CheckpointPtr& checkpoint, const std::string& prefix) {
        for (std::size_t i = 0; checkpoint && i < checkpoint->tensors().size(); ++i)
            shapes.try_emplace(prefix + checkpoint->parameterOf(idAt<TensorId>(i)), checkpoint->tensors()[i].shape);
    };
    for (const LayerFile& layer : run.layers)
        take(layer.content.checkpoint, layer.prefix);
    for (const ParallelRank& rank : run.ranks)
        take(rank.checkpoint, {});
    if (run.rules.gating)
        run.facts[run.rules.gating->fact] = "false";
    addFactsOfShapes(run.rules, shapes, run.facts);
}

Status chooseRules(ParallelRun& run, const OpenOptions& options)
{
    if (options.rules) {
        SHARDLENS_ASSIGN(run.rules, findRules(*options.rules));
        addShapeFacts(run);
        return {};
    }
    const Value info = run.firstRun()->model.root().find("universal_checkpoint_info");
    if (info.isMapping() && info.size() > 1) { // a version alone says nothing
        SHARDLENS_ASSIGN(run.rules, rulesOfUniversalInfo(info));
        return {};
    }
    run.rules = bestRules(run);
    addShapeFacts(run);
    return {};
}

void importAll(ParallelRun& run)
{
    for (std::uint32_t mpRank = 0; mpRank < run.ranks.size(); ++mpRank) {
        ParallelRank& rank = run.ranks[mpRank];
        if (!rank.checkpoint)
            continue;
        const std::size_t before = run.builder.fileCount();
        std::vector<Holder::Coordinate> holders{{Axis::Tp, rank.model}, {Axis::Pp, rank.pipe}};
        if (run.isUniversal)
            holders.clear();
        rank.import = &run.imports.emplace_back(run.builder, *rank.checkpoint, holders);
        for (std::size_t i = before; i < run.builder.fileCount(); ++i) {
            File& row = run.builder.file(idAt<FileId>(i));
            if (row.rank && !run.isUniversal)
                row.rank = (rank.pipe * run.dp + *row.rank) * run.tp + rank.model; // formats/deepspeed.md §11.2
        }
    }
    const auto stagesOf = namedLayers(run);
    for (LayerFile& layer : run.layers) {
        if (!layer.content.checkpoint)
            continue;
        layer.id = idAt<FileId>(run.builder.fileCount());
        std::vector<Holder::Coordinate> holders{{Axis::Tp, layer.model}};
        if (const auto stages = stagesOf.find(layer.index); stages != stagesOf.end() && stages->second.size() == 1 && !run.isUniversal)
            holders.push_back({Axis::Pp, *stages->second.begin()});
        layer.import = &run.imports.emplace_back(run.builder, *layer.content.checkpoint, holders);
        run.builder.file(layer.id).holds = plural(layer.content.values.size(), "tensor", "tensors");
        layer.import->addFindings([](TensorId) { return kNoTensor; });
    }
}

// Roles of names in layer files, over all ranks.
struct NameRoles {
    std::set<std::string, std::less<>> withMaster;
    std::set<std::string, std::less<>> buffers;
};

NameRoles nameRoles(const ParallelRun& run)
{
    NameRoles out;
    for (const ParallelRank& rank : run.ranks) {
        out.withMaster.insert(rank.opened.names.withMaster.begin(), rank.opened.names.withMaster.end());
        out.buffers.insert(rank.opened.names.buffers.begin(), rank.opened.names.buffers.end());
    }
    return out;
}

Role roleOfLayerTensor(const NameRoles& roles, const std::string& name, bool hasOptimizer)
{
    if (roles.buffers.contains(name))
        return {RoleKind::Buffer, "buffer"};
    if (roles.withMaster.contains(name))
        return {RoleKind::Module, "module copy"};
    return {RoleKind::Weight, hasOptimizer ? "frozen parameter" : "weight"};
}

// States of an optimizer that only numbers its parameters, of one stage among several.
std::string nameInModel(const ParallelRun& run, const ParallelRank& rank, const std::string& name)
{
    const bool isNumber = !name.empty() && name.find_first_not_of("0123456789") == std::string::npos;
    return isNumber && run.pp > 1 ? fmt::format("stage{}.{}", rank.pipe, name) : name;
}

// Its tensors are whole already.
Status joinUniversal(ParallelRun& run)
{
    ParallelRank& rank = run.ranks.front();
    RankJoin whole(run.builder, run.rules, run.facts, 1);
    for (std::size_t i = 0; i < rank.checkpoint->tensors().size(); ++i)
        whole.add(rank.checkpoint->parameterOf(idAt<TensorId>(i)), 0, *rank.import, idAt<TensorId>(i));
    return whole.finish();
}

// Layers are joined as one; ranks stage by stage, with what several stages hold under the lowest.
Status joinAll(ParallelRun& run)
{
    const NameRoles roles = nameRoles(run);
    const bool hasOptimizer = run.firstRun()->stage != Stage::None;
    RankJoin ofLayers(run.builder, run.rules, run.facts, run.tp);
    for (LayerFile& layer : run.layers) {
        if (layer.prefix.empty())
            continue;
        for (std::size_t i = 0; layer.content.checkpoint && i < layer.content.values.size(); ++i) {
            const TensorId tensor = idAt<TensorId>(i);
            const std::string name = layer.prefix + layer.content.checkpoint->parameterOf(tensor);
            ofLayers.add(name, roleOfLayerTensor(roles, name, hasOptimizer), layer.model, *layer.import, tensor);
        }
    }
    SHARDLENS_TRY(ofLayers.finish());
    std::deque<RankJoin> joins;
    std::map<std::string, std::size_t> lowest; // stage of a name
    if (run.isUniversal)
        return joinUniversal(run);
    for (std::uint32_t pipe = 0; pipe < run.pp; ++pipe) {
        joins.emplace_back(run.builder, run.rules, run.facts, run.tp);
        for (std::uint32_t model = 0; model < run.tp; ++model) {
            ParallelRank& rank = run.ranks[pipe * run.tp + model];
            if (!rank.import) {
                joins.back().missing(model, rank.missing);
                continue;
            }
            for (std::size_t i = 0; i < rank.checkpoint->tensors().size(); ++i) {
                const std::string name = nameInModel(run, rank, rank.checkpoint->parameterOf(idAt<TensorId>(i)));
                const std::size_t stage = lowest.try_emplace(name, pipe).first->second;
                joins[stage].add(name, model, *rank.import, idAt<TensorId>(i));
            }
        }
    }
    for (RankJoin& join : joins)
        SHARDLENS_TRY(join.finish());
    return {};
}

void addRankFindings(ParallelRun& run)
{
    std::set<std::string> aliases;
    for (const ParallelRank& rank : run.ranks) {
        if (!rank.import)
            continue;
        rank.import->addFindings([](TensorId) { return kNoTensor; });
        for (const LostTensor& lost : rank.checkpoint->lostTensors())
            run.builder.addLost(lost, "lost-tensor", kNoFile);
        for (const Alias& alias : rank.checkpoint->aliases())
            if (aliases.insert(alias.name).second)
                run.builder.addAlias(alias.name, run.builder.parameter(rank.checkpoint->parameters()[indexOf(alias.parameter)]));
    }
}

void addParallelFacts(ParallelRun& run)
{
    const Checkpoint& first = *std::find_if(run.ranks.begin(), run.ranks.end(), [](const ParallelRank& rank) { return rank.checkpoint != nullptr; })->checkpoint;
    run.builder.setFormat(first.formatId(), first.formatTitle());
    run.builder.setTitle(first.title(), first.subtitle());
    if (run.isUniversal)
        run.builder.setTopology(first.topology());
    else
        run.builder.setTopology({{{Axis::Pp, run.pp}, {Axis::Dp, run.dp}, {Axis::Tp, run.tp}}});
    for (const auto& [name, value] : first.facts())
        if (!name.starts_with("group "))
            run.builder.addFact(name, value);
    run.builder.setModelFacts(run.facts);
    if (run.tp > 1)
        run.builder.addFact("rules", printable(run.rules.id));
}

} // namespace

const Run* ParallelRun::firstRun() const
{
    for (const ParallelRank& rank : ranks)
        if (rank.opened.run)
            return rank.opened.run.get();
    return nullptr;
}

bool isParallel(const TagFolder& folder)
{
    const bool severalRanks = folder.mpRanks.size() > 1 || (folder.mpRanks.size() == 1 && *folder.mpRanks.begin() != 0);
    return !folder.layers.empty() || severalRanks || !folder.otherModels.empty();
}

Result<std::unique_ptr<ParallelRun>> readParallelRun(const Candidate& candidate, const OpenOptions& options, JobContext& job)
{
    SHARDLENS_ASSIGN(TagFolder folder, resolve(candidate, options));
    auto out = std::make_unique<ParallelRun>(candidate, std::move(folder));
    ParallelRun& run = *out;
    run.isUniversal = run.folder.isUniversal;
    SHARDLENS_TRY(run.isUniversal ? openUniversal(run, candidate, options, job) : openRanks(run, candidate, options, job));
    SHARDLENS_TRY(openLayers(run, job));
    for (ParallelRank& rank : run.ranks)
        if (rank.opened.run)
            rank.checkpoint = std::move(rank.opened.run->builder).finish();
    SHARDLENS_TRY(nameLayers(run, job));
    SHARDLENS_TRY(chooseRules(run, options));
    importAll(run);
    SHARDLENS_TRY(joinAll(run));
    addRankFindings(run);
    addParallelFacts(run);
    return out;
}

} // namespace shardlens::deepspeed
