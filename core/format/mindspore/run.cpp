#include "core/format/mindspore/run.h"

#include "core/base/text.h"
#include "core/encoding/hf_index.h"
#include "core/format/mindspore/join.h"
#include "core/io/byte_source.h"

#include <fmt/format.h>

#include <algorithm>
#include <iterator>
#include <set>
#include <string_view>
#include <unistd.h>
#include <unordered_map>

namespace shardlens::mindspore {
namespace {

constexpr std::string_view kNameMapFile = "param_name_map.json";
constexpr const char* kRestFile = "hyper_param.safetensors";
constexpr std::size_t kLackingNamed = 200;
constexpr const char* kStrategyFact = "mindspore-strategy"; // its path, for whoever draws it

std::string numbersText(const std::vector<std::uint32_t>& numbers)
{
    std::vector<std::string> texts;
    for (const std::uint32_t number : numbers)
        texts.push_back(std::to_string(number));
    return someNames(texts);
}

Status takeStrategy(RankRun& run, const OpenOptions& options)
{
    const bool isGiven = options.sourceStrategy.has_value();
    if (!isGiven && run.folder.besideStrategy.empty())
        return {};
    const std::string& path = isGiven ? *options.sourceStrategy : run.folder.besideStrategy;
    auto strategy = readStrategyOrFolder(path);
    if (!strategy && isGiven)
        return strategy.takeError().within("strategy");
    if (!strategy) {
        run.find(Severity::Warning, "strategy-beside", fmt::format("{} lies beside and is not used: {}.", printable(path), strategy.error().text()));
        return {};
    }
    run.strategy = strategy.take();
    run.strategyPath = path;
    for (const std::string& note : run.strategy->notes())
        run.find(Severity::Warning, "strategy", fmt::format("{}: {}.", printable(run.strategy->name()), note));
    return {};
}

// A strategy of n ranks wants exactly rank_0 … rank_<n-1> (formats/mindspore.md §10).
Status checkWorld(RankRun& run, bool isGiven)
{
    const std::uint64_t world = run.strategy->worldSize();
    if (world > kMostRanks)
        return Error{ErrorCode::LimitExceeded, fmt::format("the strategy {} is of {} ranks, and at most {} are read", printable(run.strategy->name()), groupedText(world), groupedText(kMostRanks))};
    std::vector<std::uint32_t> beyond;
    std::copy_if(run.folder.ranks.begin(), run.folder.ranks.end(), std::back_inserter(beyond), [&](std::uint32_t rank) { return rank >= world; });
    if (beyond.empty())
        return {};
    std::string text = fmt::format("the strategy {} is of {}, and there {} also {} {}: it is not the one that this run was saved with", printable(run.strategy->name()), plural(world, "rank", "ranks"), beyond.size() == 1 ? "is" : "are",
                                   beyond.size() == 1 ? "rank" : "ranks", numbersText(beyond));
    if (isGiven)
        return Error{ErrorCode::Refused, std::move(text)};
    run.find(Severity::Warning, "strategy-beside", fmt::format("It is not used: {}.", text));
    run.strategy.reset();
    return {};
}

// As the file of another rank is called.
std::string missingName(const Save& save, std::uint32_t rank)
{
    return fmt::format("rank_{}/{}", rank, save.name.fileOf(rank));
}

Status readFolders(RankRun& run, JobContext& job)
{
    const Save& save = run.folder.saves.front();
    std::vector<std::uint32_t> ranks = run.folder.ranks;
    if (run.strategy) {
        ranks.clear();
        for (std::uint64_t rank = 0; rank < run.strategy->worldSize(); ++rank)
            ranks.push_back(static_cast<std::uint32_t>(rank));
    }
    std::vector<RankPath> paths;
    for (const std::uint32_t rank : ranks) {
        const auto file = save.files.find(rank);
        RankPath path{rank, {}, {}};
        if (file != save.files.end()) {
            path = file->second;
        } else {
            path.name = missingName(save, rank);
            path.path = run.folder.folder + "/" + path.name;
        }
        paths.push_back(std::move(path));
    }
    SHARDLENS_ASSIGN(run.files, readAllWeights(run.builder, paths, job));
    return {};
}

// A folder of whole tensors (§6.4): the parts that the map names, and the rest of rank 0's file.
Status readUnified(RankRun& run, JobContext& job)
{
    const std::string name(kNameMapFile);
    SHARDLENS_ASSIGN(const auto source, FileSource::open(run.folder.folder + "/" + name));
    auto map = readNameMap(*source, ".safetensors");
    if (!map)
        return map.takeError().within(name);
    std::set<std::string> parts;
    for (const auto& [parameter, part] : map->weightMap)
        parts.insert(part);
    if (::access((run.folder.folder + "/" + kRestFile).c_str(), F_OK) == 0)
        parts.insert(kRestFile);
    std::vector<RankPath> paths;
    for (const std::string& part : parts)
        paths.push_back({0, run.folder.folder + "/" + part, part});
    SHARDLENS_ASSIGN(run.files, readAllWeights(run.builder, paths, job));
    std::unordered_map<std::string_view, const WeightsFile*> files;
    for (const auto& file : run.files) {
        run.builder.file(file->id).rank.reset();
        files.emplace(file->name, file.get());
    }
    std::size_t lacking = 0;
    for (const auto& [parameter, part] : map->weightMap) {
        run.partOf.emplace(parameter, part);
        const WeightsFile& file = *files.at(part);
        if (file.find(parameter) != nullptr || lacking++ >= kLackingNamed)
            continue;
        run.builder.addLost({parameter, RoleKind::Weight, fmt::format("{} says that {} lies in {}, and {}", name, printable(parameter), printable(part),
                                                                     file.isRead ? "it does not" : "that is missing or cannot be read")},
                            "missing-parameter", file.id);
    }
    if (lacking > kLackingNamed)
        run.find(Severity::Error, "missing-parameter", fmt::format("{} more names of {} are not in the files that it says.", groupedText(lacking - kLackingNamed), name));
    return {};
}

// What of the folder's files does not speak for itself.
void addFolderFindings(RankRun& run)
{
    const RunFolder& folder = run.folder;
    if (!folder.incomplete.empty())
        run.find(Severity::Warning, "incomplete-save", folder.incomplete);
    if (folder.siblings > 0)
        run.find(Severity::Info, "one-of-many", fmt::format("This is one rank's part of a run: {} more rank folders lie beside it. Open the folder above for the model.", groupedText(folder.siblings)));
    std::vector<std::uint32_t> absent;
    for (std::uint32_t rank = 0; run.isByRank && rank < folder.ranks.back(); ++rank)
        if (!std::binary_search(folder.ranks.begin(), folder.ranks.end(), rank))
            absent.push_back(rank);
    if (!absent.empty())
        run.find(Severity::Warning, "missing-rank", fmt::format("There is no {} {}, and there are ranks up to {}.", absent.size() == 1 ? "rank" : "ranks", numbersText(absent), folder.ranks.back()));
}

void addRunFacts(RankRun& run)
{
    run.builder.setFormat("mindspore", run.folder.kind == RunFolder::Kind::Unified ? "MindSpore unified" : "MindSpore");
    const auto step = run.folder.saves.empty() ? std::nullopt : run.folder.saves.front().name.step;
    run.builder.setTitle(run.folder.title, step ? fmt::format("epoch {}, step {}", step->first, step->second) : "");
    if (run.folder.saves.size() > 1) {
        std::vector<std::string> others;
        for (std::size_t i = 1; i < run.folder.saves.size(); ++i)
            others.push_back(run.folder.saves[i].name.text());
        run.builder.addFact("shown", printable(run.folder.saves.front().name.text()));
        run.builder.addFact("also here", someNames(others));
    }
    if (!run.folder.rivals.empty()) {
        const std::string shown = run.folder.saves.front().name.text();
        run.find(Severity::Error, "several-files", fmt::format("There are {} and {} of one step: which one counts is yours to say, as with --tag '{}'. The first is shown.", printable(shown),
                                                               someNames(run.folder.rivals), printable(shown)));
    }
    if (run.strategy)
        run.builder.setModelFacts({{kStrategyFact, run.strategyPath}});
    if (run.strategy)
        run.builder.addFact("strategy", fmt::format("{}: {} of {}, {}", run.strategy->name(), plural(run.strategy->stageCount(), "stage", "stages"),
                                                    plural(run.strategy->stageDeviceCount(), "device", "devices"), plural(run.strategy->parameterCount(), "parameter", "parameters")));
    for (const std::string& folder : run.folder.unreadable)
        run.find(Severity::Error, "unreadable-folder", fmt::format("The folder {} cannot be read.", printable(folder)));
}

void setTopology(RankRun& run)
{
    if (run.strategy) {
        Topology topology;
        if (run.strategy->stageCount() > 1)
            topology.axes.push_back({Axis::Pp, run.strategy->stageCount()});
        topology.axes.push_back({Axis::Rank, static_cast<std::uint32_t>(run.strategy->stageDeviceCount())});
        run.builder.setTopology(std::move(topology));
    } else if (run.isByRank) {
        run.builder.setTopology({{{Axis::Rank, run.folder.ranks.back() + 1}}});
    }
}

bool listsAny(const RankRun& run)
{
    bool isAnyRead = false;
    for (const auto& file : run.files) {
        isAnyRead = isAnyRead || file->isRead;
        for (const CkptEntry& entry : file->content.entries)
            if (isTensor(entry) && !run.strategy->itemsNamed(entry.name).empty())
                return true;
    }
    return !isAnyRead;
}

// What would make one model of them.
void adviseStrategy(RankRun& run)
{
    if (run.isByRank && run.files.size() > 1)
        run.find(Severity::Info, "no-strategy", fmt::format("{} and no strategy file: each rank's tensors are shown as they are. Give the strategy (--source-strategy) to see one model.",
                                                            plural(run.files.size(), "rank folder", "rank folders")));
}

} // namespace

HolderId RankRun::holderOf(const WeightsFile& file)
{
    if (folder.kind != RunFolder::Kind::RankFolders)
        return builder.holder({});
    if (!strategy || strategy->stageCount() == 1)
        return builder.holder({{{Axis::Rank, file.rank}}});
    return builder.holder({{{Axis::Pp, strategy->stageOf(file.rank)}, {Axis::Rank, static_cast<std::uint32_t>(strategy->localRankOf(file.rank))}}});
}

void RankRun::find(Severity severity, std::string code, std::string text, const WeightsFile* file)
{
    builder.addFinding({severity, std::move(code), std::move(text), kNoTensor, file != nullptr ? file->id : kNoFile,
                        file != nullptr && folder.kind == RunFolder::Kind::RankFolders ? std::optional(file->rank) : std::nullopt});
}

Result<std::unique_ptr<RankRun>> readRankRun(const Candidate& candidate, const OpenOptions& options, JobContext& job)
{
    SHARDLENS_ASSIGN(RunFolder folder, findRun(candidate, options));
    auto out = std::make_unique<RankRun>(candidate, std::move(folder));
    RankRun& run = *out;
    switch (run.folder.kind) {
    case RunFolder::Kind::Unified:
        SHARDLENS_TRY(readUnified(run, job));
        break;
    case RunFolder::Kind::OneFile: {
        SHARDLENS_ASSIGN(auto file, addWeights(run.builder, parseWeights(run.folder.saves.front().files.begin()->second, job), true));
        run.builder.file(file->id).rank.reset();
        run.files.push_back(std::move(file));
        break;
    }
    case RunFolder::Kind::RankFolders:
        SHARDLENS_TRY(takeStrategy(run, options));
        if (run.strategy)
            SHARDLENS_TRY(checkWorld(run, options.sourceStrategy.has_value()));
        run.isByRank = !run.strategy;
        SHARDLENS_TRY(readFolders(run, job));
        break;
    }
    if (options.sourceStrategy && run.folder.kind != RunFolder::Kind::RankFolders)
        return Error{ErrorCode::Refused, "a strategy is for rank folders, and this is one model as it is"};
    setTopology(run);
    addRunFacts(run);
    addFolderFindings(run);
    adviseStrategy(run);
    if (run.strategy && !listsAny(run)) {
        if (options.sourceStrategy)
            return Error{ErrorCode::Refused, fmt::format("the strategy {} lists none of the tensors of the rank files: it is another run's", printable(run.strategy->name()))};
        return Error{ErrorCode::Refused, fmt::format("the strategy {} that lies beside lists none of the tensors of the rank files; --source-strategy names another", printable(run.strategy->name()))};
    }
    SHARDLENS_TRY(joinRanks(run, job));
    return out;
}

} // namespace shardlens::mindspore
