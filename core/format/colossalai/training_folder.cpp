#include "core/format/colossalai/training_folder.h"

#include "core/base/text.h"
#include "core/encoding/json_document.h"
#include "core/encoding/torch_file.h"
#include "core/format/colossalai/dist_model.h"
#include "core/format/colossalai/model_files.h"
#include "core/format/colossalai/optimizer_reader.h"
#include "core/format/opened_file.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <tuple>

namespace shardlens::colossalai {
namespace {

constexpr std::size_t kLargestStates = 1u << 20;
constexpr std::size_t kDeepestStates = 8;

// "epoch-3_step-1200"
std::optional<std::pair<std::uint64_t, std::uint64_t>> saveOf(std::string_view name)
{
    constexpr std::string_view kEpoch = "epoch-";
    constexpr std::string_view kStep = "_step-";
    const std::size_t middle = name.find(kStep);
    if (!name.starts_with(kEpoch) || middle == std::string_view::npos)
        return std::nullopt;
    const auto numberOf = [](std::string_view digits) -> std::optional<std::uint64_t> {
        std::uint64_t out = 0;
        const auto [end, problem] = std::from_chars(digits.data(), digits.data() + digits.size(), out);
        return digits.empty() || problem != std::errc{} || end != digits.data() + digits.size() ? std::nullopt : std::optional(out);
    };
    const auto epoch = numberOf(name.substr(kEpoch.size(), middle - kEpoch.size()));
    const auto step = numberOf(name.substr(middle + kStep.size()));
    return epoch && step ? std::optional(std::pair{*epoch, *step}) : std::nullopt;
}

bool hasFolder(const Candidate& folder, const char* name)
{
    const DirectoryEntry* entry = folder.entry(name);
    return entry != nullptr && entry->isFolder;
}

bool hasTensors(const Candidate& folder)
{
    return std::any_of(folder.entries.begin(), folder.entries.end(), [](const DirectoryEntry& entry) { return !entry.isFolder
                                                                                                      && (entry.name.ends_with(".bin") || entry.name.ends_with(".safetensors")
                                                                                                          || entry.name.ends_with(".pt")); });
}

class TrainingReader {
public:
    TrainingReader(CheckpointBuilder& builder, const Candidate& folder, const RuleSet& rules, Facts& facts,
                   JobContext& job) : m_builder(builder), m_folder(folder), m_rules(rules), m_facts(facts), m_job(job) {}

    Status read()
    {
        m_builder.setFormat("colossalai", "ColossalAI training folder");
        auto order = readModel();
        if (!order)
            return order.takeError().within(kModelFolder);
        if (hasFolder(m_folder, kOptimizerFolder))
            readStates(*order);
        addScheduler();
        addRunningStates();
        return {};
    }

private:
    Result<ModelOrder> readModel()
    {
        SHARDLENS_ASSIGN(const Candidate below, lookAt(m_folder.path + "/" + kModelFolder));
        const std::string prefix = fmt::format("{}/", kModelFolder);
        return hasDistMeta(below) ? readDistModel(m_builder, below, prefix, m_rules, m_job) : readModelFiles(m_builder, below, prefix, {}, m_rules, m_job);
    }

    // An optimizer that cannot be read is no reason to hide the model.
    void readStates(const ModelOrder& order)
    {
        auto below = lookAt(m_folder.path + "/" + kOptimizerFolder);
        Status status = below ? readOptimizer(m_builder, {below.take(), fmt::format("{}/", kOptimizerFolder), {}, {}}, &order, m_rules, m_facts, m_job) : Status(below.takeError());
        if (!status)
            m_builder.addLost({"optimizer states", RoleKind::OptimizerState, status.takeError().within(kOptimizerFolder).sentence()}, "optimizer", kNoFile);
    }

    void addScheduler()
    {
        const DirectoryEntry* entry = m_folder.entry(kSchedulerFile);
        if (entry == nullptr || entry->isFolder)
            return;
        auto opened = openFile(m_folder.path + "/" + kSchedulerFile, kSchedulerFile);
        auto torch = opened ? TorchFile::open(opened->source, m_job) : Result<TorchFile>(opened.error());
        if (!opened)
            return;
        opened->row.holds = "learning-rate scheduler";
        if (torch)
            opened->row.container = containerText(torch->container());
        else
            opened->row.state = File::State::Unreadable;
        const FileId id = m_builder.addFile(opened->row);
        if (torch)
            m_builder.addMetadata({id, describe(*torch)});
        else
            m_builder.addFinding({Severity::Warning, "scheduler", fmt::format("{} cannot be read: {}.", kSchedulerFile, torch.error().text()), kNoTensor, id, std::nullopt});
    }

    // {"epoch": 0, "step": 2, "sample_start_index": 16}
    void addRunningStates()
    {
        const DirectoryEntry* entry = m_folder.entry(kStatesFile);
        if (entry == nullptr || entry->isFolder)
            return;
        auto opened = openFile(m_folder.path + "/" + kStatesFile, kStatesFile);
        const auto bytes = opened ? readBytes(*opened->source, 0, opened->source->size(), kLargestStates) : Result<std::vector<std::byte>>(opened.error());
        if (!opened)
            return;
        opened->row.holds = "epoch and step";
        m_builder.addFile(opened->row);
        const auto states = bytes ? parseJson({reinterpret_cast<const char*>(bytes->data()), bytes->size()}, kLargestStates,
                                              kDeepestStates) : Result<nlohmann::ordered_json>(bytes.error());
        for (const char* name : {"epoch", "step"})
            if (states && states->is_object() && states->contains(name) && (*states)[name].is_number())
                m_builder.addFact(name, (*states)[name].dump());
    }

    CheckpointBuilder& m_builder;
    const Candidate& m_folder;
    const RuleSet& m_rules;
    Facts& m_facts;
    JobContext& m_job;
};

} // namespace

bool isTrainingFolder(const Candidate& folder)
{
    if (!hasFolder(folder, kModelFolder))
        return false;
    if (hasFolder(folder, kOptimizerFolder) || folder.entry(kStatesFile) != nullptr || folder.entry(kSchedulerFile) != nullptr)
        return true;
    const auto below = lookAt(folder.path + "/" + kModelFolder);
    return below && hasTensors(*below);
}

std::vector<std::string> savesIn(const Candidate& folder)
{
    std::vector<std::tuple<std::uint64_t, std::uint64_t, std::string>> found;
    for (const DirectoryEntry& entry : folder.entries)
        if (const auto save = entry.isFolder ? saveOf(entry.name) : std::nullopt)
            found.emplace_back(save->first, save->second, entry.name);
    std::sort(found.rbegin(), found.rend());
    std::vector<std::string> out;
    for (auto& [epoch, step, name] : found)
        out.push_back(std::move(name));
    return out;
}

Status chooseSave(Candidate& folder, const std::optional<std::string>& tag, std::string& chosen, std::vector<std::string>& others)
{
    if (isTrainingFolder(folder)) {
        if (tag)
            return Error{ErrorCode::Refused, fmt::format("a tag ('{}') is asked for, and this folder holds one save", printable(*tag))};
        return {};
    }
    std::vector<std::string> saves = savesIn(folder);
    if (saves.empty())
        return {};
    const auto wanted = tag ? std::find(saves.begin(), saves.end(), *tag) : saves.begin();
    if (wanted == saves.end())
        return Error{ErrorCode::NotFound, fmt::format("no save {}; here are {}", printable(*tag), printable(fmt::format("{}", fmt::join(saves, ", "))))};
    chosen = *wanted;
    saves.erase(wanted);
    others = std::move(saves);
    SHARDLENS_ASSIGN(folder, lookAt(folder.path + "/" + chosen));
    if (!isTrainingFolder(folder))
        return Error{ErrorCode::Unsupported, fmt::format("{} holds no {}: a save that did not finish, or of another program", printable(chosen), kModelFolder)};
    return {};
}

Status readTrainingFolder(CheckpointBuilder& builder, const Candidate& folder, const RuleSet& rules, Facts& facts, JobContext& job)
{
    return TrainingReader(builder, folder, rules, facts, job).read();
}

} // namespace shardlens::colossalai
