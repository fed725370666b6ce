#include "core/format/sdloader/rank_set.h"

#include "core/base/text.h"
#include "core/layout/rank_join.h"
#include "core/layout/rule_library.h"

#include <fmt/format.h>

#include <algorithm>

namespace shardlens::sdloader {
namespace {

constexpr const char* kDefaultRules = "deepspeed-megatron";

Status openRanks(RankSet& set, const OpenOptions& options, JobContext& job)
{
    std::optional<Error> first;
    for (std::size_t i = 0; i < set.list.checkpoints.size(); ++i) {
        SHARDLENS_TRY(job.poll());
        RankSet::Rank& rank = set.ranks.emplace_back();
        rank.name = set.list.checkpoints[i];
        const std::string path = pathOf(set.list, set.folder, rank.name);
        auto content = openRankStates(path, rank.name, [&](pickle::Value root) -> Result<pickle::Value> {
            SHARDLENS_ASSIGN(rank.module, moduleOf(root, options.moduleKey));
            return rank.module;
        }, job);
        if (content) {
            rank.content = content.take();
            continue;
        }
        Error error = content.takeError();
        if (error.code() == ErrorCode::Refused || error.code() == ErrorCode::Cancelled)
            return std::move(error).within(printable(rank.name));
        File row = missingFile(path, rank.name);
        row.rank = static_cast<std::uint32_t>(i);
        if (error.code() != ErrorCode::NotFound)
            row.state = File::State::Unreadable;
        const bool isMissing = row.state == File::State::Missing;
        rank.id = set.builder.addFile(std::move(row));
        set.builder.addFinding({Severity::Error, isMissing ? "missing-file" : "unreadable-file",
                                isMissing ? fmt::format("Rank {} has no file {}: the list names it and it is not there.", i, printable(rank.name))
                                          : fmt::format("{} cannot be read: {}.", printable(rank.name), error.text()),
                                kNoTensor, rank.id, static_cast<std::uint32_t>(i)});
        if (!first)
            first = std::move(error).within(printable(rank.name));
    }
    if (std::none_of(set.ranks.begin(), set.ranks.end(), [](const RankSet::Rank& rank) { return rank.content.checkpoint != nullptr; }))
        return std::move(*first);
    return {};
}

// What the constructor of the loader checks of the first file.
Status checkWorldSize(const RankSet& set)
{
    for (const RankSet::Rank& rank : set.ranks) {
        if (!rank.content.torch)
            continue;
        const auto said = rank.content.torch->root().find("mp_world_size").asInt();
        if (said && static_cast<std::size_t>(*said) != set.ranks.size())
            return Error{ErrorCode::Refused, fmt::format("the list names {}, and {} was saved with mp_world_size {}", plural(set.ranks.size(), "checkpoint file", "checkpoint files"),
                                                         printable(rank.name), *said)};
    }
    return {};
}

// The list's version, else the files', else 0. 3 has the layout of 2.
void readVersion(RankSet& set)
{
    double version = 0;
    for (const RankSet::Rank& rank : set.ranks)
        if (const auto said = rank.content.torch ? rank.content.torch->root().find("checkpoint_version").asFloat() : std::nullopt) {
            version = *said;
            break;
        }
    version = set.list.version.value_or(version);
    set.facts["version"] = versionText(version);
}

// A name that has rules for other versions only.
Status checkVersion(const RankSet& set)
{
    for (const RankSet::Rank& rank : set.ranks) {
        if (!rank.content.checkpoint)
            continue;
        for (const std::string& name : rank.content.checkpoint->parameters())
            if (set.rules.isOutOfCondition(name, set.facts))
                return Error{ErrorCode::Unsupported, fmt::format("checkpoint version {} is not supported: the rules do not say how {} lies in it (0, 1, 2 and 3 are known)",
                                                                 set.facts.at("version"), printable(name))};
    }
    return {};
}

Status joinRanks(RankSet& set)
{
    RankJoin join(set.builder, set.rules, set.facts, static_cast<std::uint32_t>(set.ranks.size()));
    for (std::uint32_t number = 0; number < set.ranks.size(); ++number) {
        RankSet::Rank& rank = set.ranks[number];
        if (!rank.content.checkpoint) {
            join.missing(number, rank.id);
            continue;
        }
        const std::size_t filesBefore = set.builder.fileCount();
        PieceImport& import = set.imports.emplace_back(set.builder, *rank.content.checkpoint, std::vector<Holder::Coordinate>{{Axis::Tp, number}});
        rank.id = idAt<FileId>(filesBefore);
        File& row = set.builder.file(rank.id);
        row.rank = number;
        row.holds = plural(rank.content.values.size(), "tensor", "tensors");
        import.addFindings([](TensorId) { return kNoTensor; });
        for (std::size_t i = 0; i < rank.content.values.size(); ++i)
            join.add(rank.content.checkpoint->parameterOf(idAt<TensorId>(i)), number, import, idAt<TensorId>(i));
    }
    SHARDLENS_TRY(join.finish());
    set.anyRule = set.ranks.size() == 1 || join.anyNamed();
    return {};
}

void addListFacts(RankSet& set)
{
    set.builder.setFormat("sdloader", "DeepSpeed SDLoader");
    set.builder.setTitle(nameOfPath(set.folder), set.listName);
    set.builder.setTopology({{{Axis::Tp, static_cast<std::uint32_t>(set.ranks.size())}}});
    set.builder.setModelFacts(set.facts);
    set.builder.addFact("type", printable(set.list.typeName));
    set.builder.addFact("checkpoint version", set.facts["version"] + (set.list.version ? " (the list)" : " (the files)"));
    set.builder.addFact("rules", printable(set.rules.id));
    if (!set.anyRule)
        set.builder.addFinding({Severity::Error, "no-rule-matches",
                                fmt::format("No name matches a rule of {} ({} is one): these are another family's, and what lies on one rank alone cannot be told; --rules names a file with its rules.",
                                            printable(set.rules.id), printable(set.builder.parameters().empty() ? std::string() : set.builder.parameters().front())),
                                kNoTensor, kNoFile, std::nullopt});
}

} // namespace

Result<std::unique_ptr<RankSet>> readRankSet(const Candidate& candidate, ListFile file, const OpenOptions& options, JobContext& job, const PrepareRanks& prepare)
{
    auto out = std::make_unique<RankSet>(candidate, folderOf(file.path));
    RankSet& set = *out;
    set.listName = nameOfPath(file.path);
    set.list = std::move(file.list);
    if (set.list.type == FactoryList::Type::Inference)
        return Error{ErrorCode::Refused, fmt::format("{} lists an inference set (type {}), whose files are not for the SDLoader", printable(set.listName), printable(set.list.typeName))};
    set.rules = builtInRules(kDefaultRules);
    if (options.rules) {
        SHARDLENS_ASSIGN(set.rules, findRules(*options.rules));
    }
    SHARDLENS_TRY(openRanks(set, options, job));
    SHARDLENS_TRY(checkWorldSize(set));
    readVersion(set);
    SHARDLENS_TRY(checkVersion(set));
    if (prepare)
        SHARDLENS_TRY(prepare(set));
    SHARDLENS_TRY(joinRanks(set));
    addListFacts(set);
    return out;
}

} // namespace shardlens::sdloader
