#include "core/format/colossalai/optimizer_reader.h"

#include "core/base/text.h"
#include "core/format/colossalai/model_files.h"
#include "core/format/colossalai/optimizer_facts.h"
#include "core/format/colossalai/optimizer_names.h"
#include "core/format/colossalai/optimizer_states.h"
#include "core/format/colossalai/shard_index.h"
#include "core/format/opened_file.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <set>

namespace shardlens::colossalai {
namespace {

bool isStatesName(std::string_view name)
{
    const bool isTensors = name.ends_with(".bin") || name.ends_with(".safetensors");
    return isTensors && (name.starts_with("pytorch_optim.") || name.starts_with("optimizer."));
}

// The only file of states in a folder that has no index.
Result<std::string> singleFile(const Candidate& folder)
{
    std::vector<std::string> found;
    for (const DirectoryEntry& entry : folder.entries)
        if (!entry.isFolder && !entry.name.starts_with("pytorch_optim_group") && (entry.name.ends_with(".bin") || entry.name.ends_with(".safetensors")
                                                                                  || entry.name.ends_with(".pt")))
            found.push_back(entry.name);
    if (found.size() == 1)
        return found.front();
    if (std::count_if(found.begin(), found.end(), isStatesName) == 1)
        return *std::find_if(found.begin(), found.end(), isStatesName);
    return Error{ErrorCode::Refused, found.empty() ? fmt::format("no optimizer in {}: neither an index nor a file of states", printable(folder.name()))
                                                   : fmt::format("{} files and no index that says which of them are the optimizer", found.size())};
}

class OptimizerReader {
public:
    OptimizerReader(CheckpointBuilder& builder, const OptimizerPlace& place, const ModelOrder* model, const RuleSet& rules, Facts& facts, JobContext& job)
        : m_builder(builder), m_place(place), m_model(model), m_rules(rules), m_facts(facts), m_job(job), m_states(builder, job)
    {
    }

    Status read()
    {
        std::optional<ShardIndex> index;
        if (m_place.file.empty()) {
            SHARDLENS_ASSIGN(index, findIndex(m_place.folder, FileKind::Optimizer, m_place.index));
        }
        if (index) {
            SHARDLENS_TRY(readSharded(*index));
        } else {
            std::string name = m_place.file;
            if (name.empty()) {
                SHARDLENS_ASSIGN(name, singleFile(m_place.folder));
            }
            SHARDLENS_TRY(readSingle(name));
        }
        return addStates();
    }

private:
    Status readSharded(const ShardIndex& index)
    {
        for (const auto& [id, file] : index.map)
            if (!parameterId(id))
                return Error{ErrorCode::Refused, fmt::format("{} is not an optimizer index: it places {}, which is no whole number", printable(index.name), printable(id))};
        m_builder.addFact("optimizer index", index.name);
        sayAboutIndex(m_builder, m_place.folder, m_place.prefix, index, "optimizer");
        std::vector<std::string> names;
        std::vector<std::pair<std::string, std::string>> paths;
        for (const std::string& name : index.files()) {
            names.push_back(name);
            paths.emplace_back(m_place.folder.path + "/" + name, m_place.prefix + name);
        }
        std::map<std::int64_t, std::string> fileOf;
        std::map<std::string, std::uint64_t> counts; // parameters by file
        for (const auto& [id, file] : index.map) {
            fileOf[*parameterId(id)] = file;
            ++counts[file];
        }
        SHARDLENS_ASSIGN(auto stored, openAllStored(paths, m_job));
        for (std::size_t i = 0; i < names.size(); ++i) {
            if (!stored[i].file.checkpoint) {
                addUnread(names[i], stored[i], counts[names[i]]);
                continue;
            }
            SHARDLENS_TRY(m_states.add(std::move(stored[i].file), [&](std::int64_t id) {
                const auto known = fileOf.find(id);
                return known != fileOf.end() && known->second == names[i];
            }));
        }
        sayAbsent(index, stored);
        readGroups(index);
        return {};
    }

    Status readSingle(const std::string& name)
    {
        StoredFileResult stored = openStored(m_place.folder.path + "/" + name, m_place.prefix + name, m_job);
        if (!stored.file.checkpoint) {
            addUnread(name, stored, 0);
            return {};
        }
        SHARDLENS_TRY(m_states.add(std::move(stored.file), [](std::int64_t) { return true; }));
        if (m_states.ids().empty())
            return Error{ErrorCode::Refused, fmt::format("{} holds no states of numbered parameters: it is not an optimizer", printable(name))};
        m_groups = m_states.groups();
        m_facts[kGroupsFact] = m_place.prefix + name;
        if (!m_states.hasGroups())
            sayNoGroups(fmt::format("{} holds none", printable(name)), kNoFile);
        return {};
    }

    void addUnread(const std::string& name, const StoredFileResult& stored, std::uint64_t count)
    {
        const FileId id = m_builder.addFile(stored.file.row);
        const std::string lost = count == 0 ? "the optimizer's states are lost" : fmt::format("states of {} are lost", plural(count, "parameter", "parameters"));
        const bool isMissing = stored.problem->code() == ErrorCode::NotFound;
        lose(isMissing ? fmt::format("{} is not in the folder: {}.", printable(name), lost)
             : fmt::format("{} cannot be read, and {}: {}.", printable(name), lost, stored.problem->text()),
             isMissing ? "missing-file" : "unreadable-file", id);
    }

    void lose(std::string text, const char* code, FileId file) { m_builder.addLost({"optimizer states", RoleKind::OptimizerState, std::move(text)}, code, file); }

    // Ids that the index places in a file that was read and has nothing of them.
    void sayAbsent(const ShardIndex& index, const std::vector<StoredFileResult>& stored)
    {
        std::set<std::string> unread;
        for (const StoredFileResult& one : stored)
            if (one.problem)
                unread.insert(one.file.row.name);
        std::vector<std::string> absent;
        for (const auto& [id, file] : index.map)
            if (!unread.contains(m_place.prefix + file) && !m_states.ids().contains(*parameterId(id)))
                absent.push_back(id);
        if (!absent.empty())
            lose(fmt::format("The index {} says that states of {} lie in {}, and they do not.", printable(index.name),
                             absent.size() == 1 ? "parameter " + absent.front() : plural(absent.size(), "parameter", "parameters"),
                             absent.size() == 1 ? "a file" : "files"), "index", kNoFile);
    }

    void sayNoGroups(const std::string& why, FileId file)
    {
        m_builder.addFinding({Severity::Warning, "optimizer-groups", fmt::format("Optimizer groups are missing: {}. States can be shown, not resumed.", why), kNoTensor, file,
                              std::nullopt});
    }

    void readGroups(const ShardIndex& index)
    {
        if (!index.groups) {
            sayNoGroups(fmt::format("{} names no param_groups", printable(index.name)), kNoFile);
            return;
        }
        const std::string& name = *index.groups;
        if (name.find('/') != std::string::npos || name == "." || name == "..") {
            sayNoGroups(fmt::format("{} names {}, which is outside its folder", printable(index.name), printable(name)), kNoFile);
            return;
        }
        const std::string path = m_place.folder.path + "/" + name;
        auto opened = openFile(path, m_place.prefix + name);
        auto torch = opened ? TorchFile::open(opened->source, m_job) : Result<TorchFile>(opened.error());
        if (!torch) {
            File row = opened ? opened->row : missingFile(path, m_place.prefix + name);
            const bool isMissing = !opened;
            row.state = isMissing ? File::State::Missing : File::State::Unreadable;
            const FileId id = m_builder.addFile(std::move(row));
            sayNoGroups(isMissing ? fmt::format("{} is not in the folder", printable(name)) : fmt::format("{} cannot be read: {}", printable(name), torch.error().text()), id);
            return;
        }
        opened->row.container = containerText(torch->container());
        opened->row.holds = "parameter groups";
        const FileId id = m_builder.addFile(opened->row);
        m_builder.addMetadata({id, describe(*torch)});
        m_groups = groupsOf(torch->root());
        m_facts[kGroupsFact] = m_place.prefix + name;
        if (m_groups.empty())
            sayNoGroups(fmt::format("{} is no list of groups", printable(name)), id);
    }

    Status addStates()
    {
        const StateNames found = nameStates(m_states.shapes(), m_groups, m_model, m_rules);
        if (!m_states.ids().empty())
            m_builder.addFinding({Severity::Info, "optimizer-names", found.why, kNoTensor, kNoFile, std::nullopt});
        if (found.isIncomplete)
            m_builder.addFinding({Severity::Warning, "optimizer-incomplete",
                                  "Optimizer state incomplete: states are smaller than their parameters by one factor, as where Gemini with tensor parallelism wrote the part of the first rank only.", kNoTensor, kNoFile,
                                  std::nullopt});
        SHARDLENS_TRY(m_states.finish(found.names));
        for (const auto& [id, name] : found.names)
            m_facts[idFact(name)] = std::to_string(id);
        sayFused(found.names);
        return {};
    }

    // §6.2: moments are gathered without undoing the interleave that weights have undone.
    void sayFused(const std::map<std::int64_t, std::string>& names)
    {
        std::vector<std::string> fused;
        for (const auto& [id, name] : names) {
            const auto rule = m_rules.ruleFor(name, {});
            if (rule && *rule != nullptr && (*rule)->isSegmented())
                fused.push_back(name);
        }
        if (!fused.empty())
            m_builder.addFinding({Severity::Warning, "interleaved-moments",
                                  fmt::format("Moments of {} ({}{}) are given as stored: of a run with tensor parallelism they lie interleaved by rank, while the weights do not, and no file records its size.",
                                              plural(fused.size(), "fused parameter", "fused parameters"), printable(fused.front()), fused.size() > 1 ? " and others" : ""),
                                  kNoTensor, kNoFile, std::nullopt});
    }

    CheckpointBuilder& m_builder;
    const OptimizerPlace& m_place;
    const ModelOrder* m_model;
    const RuleSet& m_rules;
    Facts& m_facts;
    JobContext& m_job;
    OptimizerStates m_states;
    std::vector<OptimizerGroup> m_groups;
};

} // namespace

bool hasOptimizer(const Candidate& folder)
{
    if (!indexesIn(folder, FileKind::Optimizer).empty())
        return true;
    if (std::any_of(folder.entries.begin(), folder.entries.end(), [](const DirectoryEntry& entry) {
            const auto shard = entry.isFolder ? std::nullopt : shardFileOf(entry.name);
            return !entry.isFolder && ((shard && shard->kind == FileKind::Optimizer) || entry.name.starts_with("pytorch_optim.") || entry.name.starts_with("pytorch_optim_group"));
        }))
        return true;
    return folder.entry("optimizer.safetensors") != nullptr;
}

bool isFlattenedOptimizer(const Candidate& file)
{
    if (file.isFolder || file.head.size() < 16)
        return false;
    const std::string_view head(reinterpret_cast<const char*>(file.head.data()) + 8, file.head.size() - 8);
    constexpr std::string_view kMetadata = R"({"__metadata__": {)"; // the async writer's spaces
    return head.starts_with(kMetadata) && head.substr(0, 128).find("\"non_tensor_keys\"") != std::string_view::npos;
}

Status readOptimizer(CheckpointBuilder& builder, const OptimizerPlace& place, const ModelOrder* model, const RuleSet& rules, Facts& facts, JobContext& job)
{
    return OptimizerReader(builder, place, model, rules, facts, job).read();
}

} // namespace shardlens::colossalai
