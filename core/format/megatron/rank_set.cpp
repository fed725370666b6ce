#include "core/format/megatron/rank_set.h"

#include "core/base/text.h"
#include "core/format/megatron/head_order.h"
#include "core/format/megatron/optimizer_states.h"
#include "core/layout/rank_join.h"
#include "core/layout/rule_library.h"

#include <fmt/format.h>

#include <algorithm>
#include <set>

namespace shardlens::megatron {
namespace {

using pickle::Value;

constexpr std::uint32_t kMostChunks = 256;

// The state dict: `model`, or the whole file where chunks of a virtual pipeline lie in it (§4.1).
Result<Value> modelOf(Value root)
{
    if (const Value model = root.find("model"); model.isMapping())
        return model;
    if (root.find("model0").isMapping())
        return root;
    return Error{ErrorCode::Unsupported, "it holds no model (no key model or model0)"};
}

std::uint32_t sizeOf(Value args, std::initializer_list<const char*> names)
{
    for (const char* name : names) {
        const Value held = args.attribute(name) ? args.attribute(name) : args.find(name);
        if (const auto number = held.asInt(); number && *number > 0 && *number < 1'000'000)
            return static_cast<std::uint32_t>(*number);
    }
    return 1;
}

std::uint32_t chunksOf(Value root)
{
    std::uint32_t chunks = 0;
    while (chunks < kMostChunks && root.find(fmt::format("model{}", chunks)).isMapping())
        ++chunks;
    return std::max(chunks, 1u);
}

// What the numbers after the first mean is in the arguments alone (§2.4); without them they are pipeline stages.
void placeRank(const Sizes& sizes, const RankFolder& folder, Rank& rank)
{
    rank.tp = folder.numbers[0];
    if (folder.numbers.size() == 3) {
        rank.pp = folder.numbers[1];
        rank.ep = folder.numbers[2];
    } else if (folder.numbers.size() == 2) {
        (sizes.pp == 1 && sizes.ep > 1 ? rank.ep : rank.pp) = folder.numbers[1];
    }
}

std::string folderName(const Sizes& sizes, const Rank& rank)
{
    std::string out = fmt::format("mp_rank_{:02d}", rank.tp);
    if (sizes.pp > 1)
        out += fmt::format("_{:03d}", rank.pp);
    if (sizes.ep > 1)
        out += fmt::format("_{:03d}", rank.ep);
    return out;
}

// Without arguments the folders themselves say the sizes.
Sizes sizesOf(const IterationFolder& folder, Value root)
{
    const Value args = root.find("args");
    Sizes out{1, 1, 1, chunksOf(root)};
    if (args) {
        out.tp = sizeOf(args, {"tensor_model_parallel_size", "model_parallel_size"});
        out.pp = sizeOf(args, {"pipeline_model_parallel_size"});
        out.ep = sizeOf(args, {"expert_model_parallel_size"});
        return out;
    }
    for (const RankFolder& rank : folder.ranks) {
        out.tp = std::max(out.tp, rank.numbers[0] + 1);
        out.pp = std::max(out.pp, rank.numbers.size() > 1 ? rank.numbers[1] + 1 : 1);
        out.ep = std::max(out.ep, rank.numbers.size() > 2 ? rank.numbers[2] + 1 : 1);
    }
    return out;
}

std::uint32_t rankNumber(const Sizes& sizes, const Rank& rank)
{
    return (rank.pp * sizes.ep + rank.ep) * sizes.tp + rank.tp;
}

Status openRank(RankSet& set, Rank& rank, JobContext& job)
{
    const std::string path = set.folder.path + "/" + rank.name;
    auto content = openRankStates(path, rank.name, modelOf, job);
    if (content) {
        rank.content = content.take();
        return {};
    }
    Error error = content.takeError();
    if (error.code() == ErrorCode::Cancelled)
        return error;
    File row = missingFile(path, rank.name);
    row.rank = rankNumber(set.sizes, rank);
    const bool isMissing = error.code() == ErrorCode::NotFound;
    if (!isMissing)
        row.state = File::State::Unreadable;
    rank.id = set.builder.addFile(std::move(row));
    const std::string place = fmt::format("tp {}, pp {}, ep {}", rank.tp, rank.pp, rank.ep);
    set.builder.addFinding({Severity::Error, isMissing ? "missing-file" : "unreadable-file",
                            isMissing ? fmt::format("Tensor parallel {} x pipeline {} x expert {} needs {}, and it is missing ({}).", set.sizes.tp, set.sizes.pp, set.sizes.ep,
                                                    printable(rank.name), place)
                                      : fmt::format("{} cannot be read ({}): {}.", printable(rank.name), place, error.text()),
                            kNoTensor, rank.id, rankNumber(set.sizes, rank)});
    return {};
}

Status openRanks(RankSet& set, JobContext& job)
{
    const std::uint64_t count = std::uint64_t{set.sizes.tp} * set.sizes.pp * set.sizes.ep;
    if (count > (1u << 16))
        return Error{ErrorCode::LimitExceeded, fmt::format("{} ranks, at most {} are read", groupedText(count), 1u << 16)};
    for (std::uint32_t pp = 0; pp < set.sizes.pp; ++pp)
        for (std::uint32_t ep = 0; ep < set.sizes.ep; ++ep)
            for (std::uint32_t tp = 0; tp < set.sizes.tp; ++tp) {
                Rank& rank = set.ranks.emplace_back();
                rank.tp = tp;
                rank.pp = pp;
                rank.ep = ep;
                rank.name = folderName(set.sizes, rank) + "/" + set.folder.modelFile;
            }
    for (Rank& rank : set.ranks) {
        SHARDLENS_TRY(job.poll());
        SHARDLENS_TRY(openRank(set, rank, job));
    }
    for (const RankFolder& folder : set.folder.ranks) {
        Rank place;
        placeRank(set.sizes, folder, place);
        if (set.at(place.tp, place.pp, place.ep) == nullptr || folderName(set.sizes, place) != folder.name)
            set.builder.addFinding({Severity::Warning, "left-over", fmt::format("{} is no rank of tensor parallel {} x pipeline {} x expert {} and is not read.", printable(folder.name),
                                                                               set.sizes.tp, set.sizes.pp, set.sizes.ep),
                                    kNoTensor, kNoFile, std::nullopt});
    }
    return {};
}

// The built-in family whose rules know most of the names.
void chooseRules(RankSet& set)
{
    std::size_t most = 0;
    for (const char* id : {"megatron-core", "megatron-legacy"}) {
        const RuleSet& rules = builtInRules(id);
        std::size_t known = 0;
        for (const std::string& name : set.firstRead()->content.checkpoint->parameters())
            known += std::any_of(rules.rules.begin(), rules.rules.end(), [&](const ShardRule& rule) { return rule.regex->search(name); }) ? 1 : 0;
        if (known > most || set.rules.id.empty())
            set.rules = rules;
        most = std::max(most, known);
    }
}

std::vector<Holder::Coordinate> coordinatesOf(const Sizes& sizes, const Rank& rank)
{
    std::vector<Holder::Coordinate> out;
    for (const auto& [axis, size, index] : {std::tuple{Axis::Tp, sizes.tp, rank.tp}, {Axis::Pp, sizes.pp, rank.pp}, {Axis::Ep, sizes.ep, rank.ep}})
        if (size > 1 || axis == Axis::Tp)
            out.push_back({axis, index});
    return out;
}

void importRanks(RankSet& set)
{
    for (Rank& rank : set.ranks) {
        if (!rank.ordered)
            continue;
        const FileId id = idAt<FileId>(set.builder.fileCount());
        rank.import = &set.imports.emplace_back(set.builder, *rank.ordered, coordinatesOf(set.sizes, rank));
        rank.import->addFindings([](TensorId) { return kNoTensor; });
        rank.id = id;
        for (std::size_t i = indexOf(id); i < set.builder.fileCount(); ++i)
            set.builder.file(idAt<FileId>(i)).rank = rankNumber(set.sizes, rank);
        set.builder.file(id).holds = plural(rank.content.values.size(), "tensor", "tensors");
        const FileId last = idAt<FileId>(set.builder.fileCount() - 1);
        if (last != id)
            set.builder.file(last).holds = "optimizer states";
        for (LostTensor& lost : rank.lost)
            set.builder.addLost(std::move(lost), lost.role == RoleKind::OptimizerState ? "optimizer-not-read" : "grouped-experts", last);
    }
}

// The copy of a tied embedding on the last stage stands under the embedding's name (§5.10).
const TiedRule* tiedRuleOf(const RankSet& set, const Rank& rank, const Entry& entry)
{
    if (!set.isTied || set.sizes.pp == 1 || rank.pp + 1 != set.sizes.pp)
        return nullptr;
    for (const TiedRule& rule : set.rules.tied)
        if (rule.copy == entry.global)
            return &rule;
    return nullptr;
}

// The name of a parameter whichever of its tied copies an entry is.
const std::string& nameOfEntry(const RankSet& set, const Rank& rank, const Entry& entry)
{
    const TiedRule* tied = tiedRuleOf(set, rank, entry);
    return tied != nullptr ? tied->original : entry.global;
}

// States that not all tensor-parallel ranks of a parameter have are left out, and its weight stays the most precise copy.
void keepWholeStates(RankSet& set)
{
    using Ranks = std::set<std::uint32_t>;
    std::map<std::string, Ranks> weights;
    std::map<std::tuple<std::string, RoleKind, std::string>, Ranks> states;
    const auto keyOf = [&](const Rank& rank, const Entry& entry) {
        const Role& role = rank.ordered->roleOf(idAt<TensorId>(entry.tensor));
        return std::tuple{nameOfEntry(set, rank, entry), role.kind, role.name};
    };
    for (const auto& [rank, entries] : set.entries)
        for (const Entry& entry : entries) {
            if (entry.isState)
                states[keyOf(*rank, entry)].insert(rank->tp);
            else
                weights[nameOfEntry(set, *rank, entry)].insert(rank->tp);
        }
    std::set<std::string> partial;
    for (auto& [rank, entries] : set.entries)
        std::erase_if(entries, [&](const Entry& entry) {
            if (!entry.isState || states.at(keyOf(*rank, entry)) == weights.at(nameOfEntry(set, *rank, entry)))
                return false;
            partial.insert(nameOfEntry(set, *rank, entry));
            return true;
        });
    for (const auto& [key, ranks] : states)
        if (std::get<RoleKind>(key) == RoleKind::Weight && ranks == weights.at(std::get<0>(key)))
            set.mastered.insert(std::get<0>(key));
    if (!partial.empty())
        set.builder.addFinding({Severity::Warning, "partial-states",
                                fmt::format("Optimizer states of {} are not shown, because some tensor-parallel ranks have none that could be named: {}{}.",
                                            plural(partial.size(), "parameter", "parameters"), printable(*partial.begin()), partial.size() > 1 ? " and others" : ""),
                                kNoTensor, kNoFile, std::nullopt});
}

Role roleInModel(const RankSet& set, const Rank& rank, const Entry& entry, const std::string& name)
{
    if (!entry.isState && set.mastered.contains(name))
        return {RoleKind::Module, "module copy"};
    return rank.ordered->roleOf(idAt<TensorId>(entry.tensor));
}

// One join a chunk and stage: a rank that is missing leaves holes in its own stage's tensors only. In the model's order: all stages of chunk 0 first.
Status joinRanks(RankSet& set)
{
    std::deque<RankJoin> joins;
    std::set<std::pair<std::string, std::string>> aliases;
    for (std::uint32_t chunk = 0; chunk < set.sizes.chunks; ++chunk)
        for (std::uint32_t stage = 0; stage < set.sizes.pp; ++stage) {
            RankJoin& join = joins.emplace_back(set.builder, set.rules, set.facts, set.sizes.tp);
            for (Rank& rank : set.ranks) {
                if (rank.pp != stage)
                    continue;
                if (!rank.import) {
                    join.missing(rank.tp, rank.id);
                    continue;
                }
                for (const Entry& entry : set.entries.at(&rank)) {
                    if (entry.chunk != chunk)
                        continue;
                    const TiedRule* tied = tiedRuleOf(set, rank, entry);
                    const std::string& name = nameOfEntry(set, rank, entry);
                    (tied != nullptr ? joins.front() : join).add(name, roleInModel(set, rank, entry, name), rank.tp, *rank.import, idAt<TensorId>(entry.tensor));
                    if (tied != nullptr)
                        aliases.emplace(tied->copy, tied->original);
                }
            }
        }
    for (RankJoin& join : joins)
        SHARDLENS_TRY(join.finish());
    if (set.sizes.tp > 1 && std::none_of(joins.begin(), joins.end(), [](const RankJoin& join) { return join.anyNamed(); }))
        set.builder.addFinding({Severity::Error, "no-rule-matches",
                                fmt::format("No name matches a rule of {} ({} is one): these are another family's; --rules names a file with its rules.", printable(set.rules.id),
                                            printable(set.builder.parameters().empty() ? std::string() : set.builder.parameters().front())),
                                kNoTensor, kNoFile, std::nullopt});
    for (const auto& [copy, original] : aliases)
        set.builder.addAlias(copy, set.builder.parameter(original));
    return {};
}

// Files of an optimizer that are not read, and why: "… is not known, so their".
void addUnreadOptimizer(RankSet& set, const std::string& first, std::size_t count, const char* why)
{
    set.builder.addLost({first, RoleKind::OptimizerState,
                         fmt::format("{}{}: {} states are not read; the model is.", printable(first), count > 1 ? fmt::format(" and {} more", count - 1) : std::string(), why)},
                        "optimizer-not-read", kNoFile);
}

void addRunFacts(RankSet& set)
{
    const Sizes& sizes = set.sizes;
    set.builder.setFormat("megatron", "Megatron-LM");
    const auto last = [](const std::string& path) { return path.substr(path.find_last_of('/') + 1); };
    const bool openedIteration = set.folder.root == set.folder.path;
    set.builder.setTitle(last(openedIteration ? set.folder.path : set.folder.root), openedIteration ? "" : set.folder.name);
    Topology topology;
    for (const auto& [axis, size] : {std::pair{Axis::Pp, sizes.pp}, {Axis::Ep, sizes.ep}, {Axis::Tp, sizes.tp}})
        if (size > 1 || axis == Axis::Tp)
            topology.axes.push_back({axis, size});
    set.builder.setTopology(topology);
    set.builder.setModelFacts(set.facts);
    for (const auto& [title, fact] : {std::pair{"iteration", "iteration"}, {"layers", "num_layers"}, {"hidden size", "hidden_size"}, {"attention heads", "num_attention_heads"},
                                      {"query groups", "num_query_groups"}, {"experts", "num_experts"}, {"padded vocabulary", "padded_vocab_size"}})
        if (const auto at = set.facts.find(fact); at != set.facts.end() && at->second != "None")
            set.builder.addFact(title, printable(at->second));
    set.builder.addFact("checkpoint version", set.facts["version"]);
    set.builder.addFact("rules", printable(set.rules.id));
    if (!set.folder.otherIterations.empty())
        set.builder.addFact("other iterations", fmt::format("{} (--tag opens them)", fmt::join(set.folder.otherIterations, ", ")));
    if (!set.folder.optimizerShards.empty())
        addUnreadOptimizer(set, set.folder.optimizerShards.front(), set.folder.optimizerShards.size(), "how the optimizer's shards of 2022 to 2023 lie is not known, so their");
    if (set.folder.layerWiseFiles != 0)
        addUnreadOptimizer(set, set.folder.firstLayerWise, set.folder.layerWiseFiles, "which layers each file of a layer-wise optimizer owns is not known, so its");
    if (set.optimizer.kind == OptimizerKept::Kind::Distributed)
        set.builder.addFact("optimizer", fmt::format("distributed, {}", set.optimizer.storedAs));
    if (set.optimizer.kind == OptimizerKept::Kind::Plain)
        set.builder.addFact("optimizer", "in the model files, states named by shape");
}

} // namespace

const Rank* RankSet::firstRead() const
{
    const auto found = std::find_if(ranks.begin(), ranks.end(), [](const Rank& rank) { return rank.content.checkpoint != nullptr; });
    return found == ranks.end() ? nullptr : &*found;
}

const Rank* RankSet::at(std::uint32_t tp, std::uint32_t pp, std::uint32_t ep) const
{
    if (tp >= sizes.tp || pp >= sizes.pp || ep >= sizes.ep)
        return nullptr;
    return &ranks[(std::size_t{pp} * sizes.ep + ep) * sizes.tp + tp];
}

Result<std::unique_ptr<RankSet>> readRankSet(const Candidate& candidate, const OpenOptions& options, JobContext& job)
{
    SHARDLENS_ASSIGN(IterationFolder folder, resolve(candidate, options));
    auto out = std::make_unique<RankSet>(candidate, std::move(folder));
    RankSet& set = *out;
    const std::string firstName = set.folder.ranks.front().name + "/" + set.folder.modelFile;
    auto first = openRankStates(set.folder.path + "/" + firstName, firstName, modelOf, job); // says how many ranks there are
    if (!first)
        return first.takeError().within(printable(firstName));
    set.sizes = sizesOf(set.folder, first->torch->root());
    SHARDLENS_TRY(openRanks(set, job));
    if (set.firstRead() == nullptr)
        return Error{ErrorCode::Corrupt, "none of its rank files can be read"};
    if (options.rules) {
        SHARDLENS_ASSIGN(set.rules, findRules(*options.rules));
    } else {
        chooseRules(set);
    }
    readFacts(set);
    SHARDLENS_TRY(nameEntries(set));
    SHARDLENS_TRY(checkExpertArguments(set));
    SHARDLENS_TRY(readOptimizers(set, job));
    SHARDLENS_TRY(takeExpertsApart(set, job));
    sayLostExperts(set);
    for (Rank& rank : set.ranks)
        if (rank.content.checkpoint) {
            SHARDLENS_ASSIGN(rank.ordered, inHeadOrder(set, rank));
        }
    keepWholeStates(set);
    importRanks(set);
    SHARDLENS_TRY(joinRanks(set));
    addRunFacts(set);
    return out;
}

} // namespace shardlens::megatron
