#include "core/format/sdloader/rank_set.h"

#include "core/base/text.h"
#include "core/io/byte_source.h"
#include "core/layout/rank_join.h"
#include "core/layout/rule_library.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>

namespace shardlens::sdloader {
namespace {

constexpr std::uint64_t kLargestListFile = 4u << 20;
constexpr std::size_t kListsLookedAt = 32;
constexpr const char* kDefaultRules = "deepspeed-megatron";

Result<std::string> textOfFile(const std::string& path)
{
    SHARDLENS_ASSIGN(const auto file, FileSource::open(path));
    SHARDLENS_ASSIGN(const auto bytes, readBytes(*file, 0, file->size(), kLargestListFile));
    return std::string(reinterpret_cast<const char*>(bytes.data()), bytes.size());
}

std::string folderOf(const std::string& path)
{
    const std::size_t slash = path.find_last_of('/');
    return slash == std::string::npos ? "." : slash == 0 ? "/" : path.substr(0, slash);
}

// module, model, or what --module-key says (§16.2).
Result<pickle::Value> moduleOf(pickle::Value root, const std::optional<std::string>& key)
{
    if (key == "none")
        return root;
    if (key && key != "auto") {
        const pickle::Value named = root.find(*key);
        return named.isMapping() ? Result<pickle::Value>(named) : Error{ErrorCode::Refused, fmt::format("--module-key {}: the checkpoint has no such dictionary", printable(*key))};
    }
    const pickle::Value module = root.find("module");
    const pickle::Value model = root.find("model");
    const bool hasModule = module.isMapping();
    const bool hasModel = model.isMapping();
    if (hasModule && hasModel)
        return Error{ErrorCode::Refused, "the checkpoint has both 'model' and 'module' keys; --module-key says which is meant"};
    if (!hasModule && !hasModel)
        return Error{ErrorCode::Refused, "the checkpoint contains neither 'model' nor 'module'; --module-key names the key, or says none where the file is the model itself"};
    return hasModule ? module : model;
}

Status openRanks(RankSet& set, const OpenOptions& options, JobContext& job)
{
    const std::string base = set.list.baseDir.empty() ? set.folder : set.list.baseDir.front() == '/' ? set.list.baseDir : set.folder + "/" + set.list.baseDir;
    std::optional<Error> first;
    for (std::size_t i = 0; i < set.list.checkpoints.size(); ++i) {
        SHARDLENS_TRY(job.poll());
        RankSet::Rank& rank = set.ranks.emplace_back();
        rank.name = set.list.checkpoints[i];
        const std::string path = rank.name.front() == '/' ? rank.name : base + "/" + rank.name;
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
    set.facts["version"] = std::floor(version) == version ? fmt::format("{:.0f}", version) : fmt::format("{}", version);
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

std::string nameOfPath(const std::string& path)
{
    const std::size_t slash = path.find_last_of('/');
    return slash == std::string::npos ? path : path.substr(slash + 1);
}

void addListFacts(RankSet& set)
{
    set.builder.setFormat("sdloader", "DeepSpeed SDLoader");
    set.builder.setTitle(nameOfPath(set.folder), set.listName);
    set.builder.setTopology({{{Axis::Tp, static_cast<std::uint32_t>(set.ranks.size())}}});
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

Result<std::string> listOf(const Candidate& candidate)
{
    if (!candidate.isFolder)
        return candidate.path;
    std::vector<std::string> lists;
    std::size_t looked = 0;
    for (const DirectoryEntry& entry : candidate.entries) {
        if (entry.isFolder || !entry.name.ends_with(".json") || entry.sizeBytes > kLargestListFile || ++looked > kListsLookedAt)
            continue;
        const auto inside = lookAt(candidate.path + "/" + entry.name);
        if (inside && looksLikeList({reinterpret_cast<const char*>(inside->head.data()), inside->head.size()}))
            lists.push_back(entry.name);
    }
    if (lists.size() == 1)
        return candidate.path + "/" + lists.front();
    std::string names;
    for (const std::string& name : lists)
        names += (names.empty() ? "" : ", ") + printable(name);
    if (lists.empty())
        return Error{ErrorCode::NotFound, "no list of checkpoints (JSON with type, checkpoints and version) is in the folder"};
    return Error{ErrorCode::Refused, fmt::format("{} lists of checkpoints are in the folder; open one of them: {}", lists.size(), names)};
}

Result<std::unique_ptr<RankSet>> readRankSet(const Candidate& candidate, const OpenOptions& options, JobContext& job)
{
    SHARDLENS_ASSIGN(const std::string path, listOf(candidate));
    auto out = std::make_unique<RankSet>(candidate, folderOf(path));
    RankSet& set = *out;
    set.listName = nameOfPath(path);
    SHARDLENS_ASSIGN(const std::string text, textOfFile(path));
    auto list = parseList(text);
    if (!list)
        return list.takeError().within(printable(set.listName));
    set.list = list.take();
    if (set.list.type == FactoryList::Type::Inference)
        return Error{ErrorCode::Unsupported, fmt::format("{}: a tensor-parallel inference set of type {} is recognised, and reading it follows in a later version",
                                                         printable(set.listName), printable(set.list.typeName))};
    set.rules = builtInRules(kDefaultRules);
    if (options.rules) {
        SHARDLENS_ASSIGN(set.rules, findRules(*options.rules));
    }
    SHARDLENS_TRY(openRanks(set, options, job));
    SHARDLENS_TRY(checkWorldSize(set));
    readVersion(set);
    SHARDLENS_TRY(checkVersion(set));
    SHARDLENS_TRY(joinRanks(set));
    addListFacts(set);
    return out;
}

} // namespace shardlens::sdloader
