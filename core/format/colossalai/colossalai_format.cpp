#include "core/format/colossalai/colossalai_format.h"

#include "core/base/text.h"
#include "core/encoding/json_document.h"
#include "core/format/colossalai/dist_model.h"
#include "core/format/colossalai/file_names.h"
#include "core/format/colossalai/model_files.h"
#include "core/format/colossalai/optimizer_reader.h"
#include "core/format/colossalai/shard_index.h"
#include "core/format/colossalai/training_folder.h"
#include "core/layout/rule_library.h"

#include <fmt/format.h>

#include <algorithm>

namespace shardlens::colossalai {
namespace {

std::string folderOf(const std::string& path)
{
    const std::size_t slash = path.find_last_of('/');
    return slash == std::string::npos ? "." : path.substr(0, std::max<std::size_t>(slash, 1));
}

bool hasShards(const Candidate& folder, bool ofDist)
{
    return std::any_of(folder.entries.begin(), folder.entries.end(), [&](const DirectoryEntry& entry) {
        const auto shard = entry.isFolder ? std::nullopt : shardFileOf(entry.name);
        return shard && shard->kind == FileKind::Model && shard->dist.has_value() == ofDist;
    });
}

// An index of Hugging Face has the same name: the names of the shards, or a prefix, tell whose it is (formats/colossalai.md §2.3).
bool hasOwnIndex(const Candidate& folder)
{
    const auto found = indexesIn(folder, FileKind::Model);
    return !found.empty() && (hasShards(folder, false) || std::any_of(found.begin(), found.end(), [](const std::string& name) { return !indexFileOf(name)->prefix.empty(); }));
}

bool isOwnFolder(const Candidate& folder)
{
    return hasDistMeta(folder) || hasOwnIndex(folder) || hasOptimizer(folder) || hasStageIndexes(folder) || hasShards(folder, true);
}

// What a file that was opened stands for.
struct Opened {
    Candidate folder;
    std::string index; // chosen by opening it
    std::string file;  // a single file of states
};

Result<Opened> resolve(const Candidate& candidate)
{
    Opened out;
    if (candidate.isFolder) {
        out.folder = candidate;
        return out;
    }
    SHARDLENS_ASSIGN(out.folder, lookAt(folderOf(candidate.path)));
    if (indexFileOf(candidate.name()))
        out.index = candidate.name();
    else if (!metaDistId(candidate.name()))
        out.file = candidate.name();
    return out;
}

// One kind of checkpoint in one folder.
Status readFolder(CheckpointBuilder& builder, const Opened& opened, const RuleSet& rules, Facts& facts, JobContext& job)
{
    const Candidate& folder = opened.folder;
    const auto chosen = opened.index.empty() ? std::nullopt : indexFileOf(opened.index);
    const bool isStates = !opened.file.empty() || (chosen && chosen->kind == FileKind::Optimizer);
    const bool isDist = !chosen && opened.file.empty() && hasDistMeta(folder);
    const bool isModel = !isStates && (chosen || isDist || !indexesIn(folder, FileKind::Model).empty() || !hasOptimizer(folder));
    if (isDist) {
        builder.setFormat("colossalai", "ColossalAI distributed");
        const auto order = readDistModel(builder, folder, "", rules, job);
        return order ? Status() : Status(order.error());
    }
    if (isModel && !chosen && !indexesIn(folder, FileKind::Model).empty() && !indexesIn(folder, FileKind::Optimizer).empty())
        return Error{ErrorCode::Refused, fmt::format("a model and an optimizer in one folder: open one of them by its index: {} or {}",
                                                     printable(indexesIn(folder, FileKind::Model).front()),
                                                     printable(indexesIn(folder, FileKind::Optimizer).front()))};
    if (isModel && hasShards(folder, true) && indexesIn(folder, FileKind::Model).empty())
        return Error{ErrorCode::Refused, "weights of dist ids (-dist-) and no metadata (pytorch_model-meta-dist-*.json): left over from a broken save; the files can be opened one by one"};
    if (isModel) {
        builder.setFormat("colossalai", "ColossalAI sharded model");
        const auto order = readModelFiles(builder, folder, "", opened.index, rules, job);
        return order ? Status() : Status(order.error());
    }
    builder.setFormat("colossalai", "ColossalAI optimizer");
    return readOptimizer(builder, {folder, "", opened.index, opened.file}, nullptr, rules, facts, job);
}

} // namespace

Match probe(const Candidate& candidate)
{
    if (candidate.isFolder)
        return isOwnFolder(candidate) || isTrainingFolder(candidate) || !savesIn(candidate).empty() ? Match::ByContent : Match::No;
    if (metaDistId(candidate.name()) || isFlattenedOptimizer(candidate))
        return Match::ByContent;
    const auto shard = shardFileOf(candidate.name());
    if ((shard && shard->kind == FileKind::Optimizer) || candidate.name().starts_with("pytorch_optim."))
        return candidate.name().ends_with(".json") || !candidate.head.empty() ? Match::ByContent : Match::No;
    const auto index = indexFileOf(candidate.name());
    if (!index)
        return Match::No;
    const auto folder = lookAt(folderOf(candidate.path));
    return index->kind == FileKind::Optimizer || !index->prefix.empty() || (folder && hasOwnIndex(*folder)) ? Match::ByContent : Match::No;
}

Result<CheckpointPtr> open(const Candidate& candidate, const OpenOptions& options, JobContext& job)
{
    RuleSet rules = builtInRules("colossalai");
    if (options.rules) {
        SHARDLENS_ASSIGN(rules, findRules(*options.rules));
    }
    SHARDLENS_ASSIGN(Opened opened, resolve(candidate));
    std::string subtitle;
    std::vector<std::string> others;
    if (candidate.isFolder && !isOwnFolder(candidate)) {
        SHARDLENS_TRY(chooseSave(opened.folder, options.tag, subtitle, others));
    } else if (options.tag) {
        return Error{ErrorCode::Refused, fmt::format("a tag ('{}') is asked for, and this folder holds one save", printable(*options.tag))};
    }
    CheckpointBuilder builder(candidate.path, opened.folder.path);
    builder.setTitle(candidate.name(), subtitle);
    Facts facts;
    if (candidate.isFolder && isTrainingFolder(opened.folder))
        SHARDLENS_TRY(readTrainingFolder(builder, opened.folder, rules, facts, job));
    else
        SHARDLENS_TRY(readFolder(builder, opened, rules, facts, job));
    builder.setModelFacts(std::move(facts));
    if (!others.empty())
        builder.addFact("also here", printable(fmt::format("{}", fmt::join(others, ", "))));
    return std::move(builder).finish();
}

} // namespace shardlens::colossalai
