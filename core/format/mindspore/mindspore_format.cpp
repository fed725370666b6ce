#include "core/format/mindspore/mindspore_format.h"

#include "core/base/text.h"
#include "core/format/mindspore/rank_slices.h"
#include "core/format/mindspore/run.h"
#include "core/format/mindspore/target_names.h"

#include <fmt/format.h>

#include <algorithm>
#include <unordered_map>
#include <unordered_set>

namespace shardlens::mindspore {
namespace {

using Kind = TargetNote::Kind;

// A folder with rank_0 alone: MindSpore's "no source strategy".
bool isWholeModel(const RankRun& run)
{
    return run.isByRank && run.files.size() == 1 && run.files.front()->rank == 0;
}

// Puts a target together. The source is read again where it is MindSpore's: texts and single ranks' copies are in no tensor.
class TargetMaker {
public:
    TargetMaker(const CheckpointPtr& source, const TargetOptions& options, JobContext& job) : m_source(source), m_options(options), m_job(job) {}

    Result<Target> make();

private:
    Status checkOptions() const;
    Status readSource();
    Status chooseTensors();
    [[nodiscard]] std::string typeNameOf(const std::string& stored) const;
    Status addRanks();
    Status addWhole();
    Status addEachAsItIs();
    Status addFile(const CheckpointBuilder& payload, std::vector<OutputEntry> entries, std::string name, std::optional<std::uint32_t> rank);
    void addStrategyNotes(const RankSlices& slices);
    void addNotes();

    CheckpointPtr m_source;
    const TargetOptions& m_options;
    JobContext& m_job;
    std::unique_ptr<RankRun> m_run; // of a MindSpore source
    CheckpointPtr m_joined;
    std::optional<Strategy> m_strategy;
    std::optional<TargetNames> m_names;
    std::vector<SourceTensor> m_tensors;
    std::unordered_set<std::string> m_lostTexts; // that the container has no place for
    Target m_out;
};

Status TargetMaker::checkOptions() const
{
    const char* const sized = m_options.dp ? "--dp" : m_options.tp ? "--tp" : m_options.pp ? "--pp" : m_options.ep ? "--ep" : m_options.zeroStage ? "--zero-stage" : nullptr;
    if (sized != nullptr)
        return Error{ErrorCode::Refused, fmt::format("{}: how MindSpore's ranks divide tensors is said by a strategy file: --strategy", sized)};
    if (m_options.rank && !m_options.strategy)
        return Error{ErrorCode::Refused, "--rank: without --strategy the whole model is written in one file; --strategy says which ranks there are"};
    if (!m_options.fileName.empty() && m_options.strategy && !m_options.rank)
        return Error{ErrorCode::Refused, "the target's name says one file, and --strategy means a folder for each rank; --rank writes one of them"};
    return {};
}

Status TargetMaker::readSource()
{
    m_joined = m_source;
    if (m_source->formatId() != "mindspore")
        return {};
    SHARDLENS_ASSIGN(const Candidate candidate, lookAt(m_source->path()));
    SHARDLENS_ASSIGN(m_run, readRankRun(candidate, m_options.open, m_job));
    m_joined = std::move(m_run->builder).finish();
    for (const Finding& finding : m_joined->findings())
        if (finding.severity == Severity::Error)
            return Error{ErrorCode::Refused, finding.text.ends_with('.') ? finding.text.substr(0, finding.text.size() - 1) : finding.text};
    for (const auto& file : m_run->files)
        for (const CkptEntry& entry : file->content.entries)
            if (entry.kind == CkptEntry::Kind::MapTensor)
                return Error{ErrorCode::Unsupported, fmt::format("{} in {} is a part of a hash table (map parameter), which is not written yet", printable(entry.name), printable(file->name))};
    return {};
}

// "Int4" is known to the files alone.
std::string TargetMaker::typeNameOf(const std::string& stored) const
{
    if (!m_run)
        return {};
    for (const auto& file : m_run->files)
        if (const CkptEntry* entry = file->isRead ? file->find(stored) : nullptr; entry != nullptr)
            return entry->typeName == "Int4" ? entry->typeName : std::string();
    return {};
}

Status TargetMaker::chooseTensors()
{
    const bool isFlat = m_run != nullptr; // MindSpore's names are flat: all of them are weights, or none
    const Select select = isFlat && m_options.select != Select::Optimizer ? Select::All : m_options.select;
    const std::string alone = m_run && isWholeModel(*m_run) ? "rank_0/" : "";
    for (const SelectedTensor& selected : selectTensors(*m_joined, {select, {}, {}})) {
        const Tensor& tensor = m_joined->tensor(selected.tensor);
        if (tensor.sparsePart)
            return Error{ErrorCode::Refused, fmt::format("{} is a part of a sparse tensor, which MindSpore's files cannot hold", printable(selected.name))};
        const std::string name = selected.name.starts_with(alone) ? selected.name.substr(alone.size()) : selected.name;
        m_tensors.push_back({name, selected.tensor, tensor.dtype == DType::I8 ? typeNameOf(name) : std::string()});
    }
    if (m_tensors.empty())
        return Error{ErrorCode::Refused, fmt::format("nothing is selected: the source has no tensors of the kind '{}'", nameOf(m_options.select))};
    return {};
}

Status TargetMaker::addFile(const CheckpointBuilder& payload, std::vector<OutputEntry> entries, std::string name, std::optional<std::uint32_t> rank)
{
    if (m_names->isSafetensors())
        std::erase_if(entries, [&](const OutputEntry& entry) {
            const bool isOther = entry.text || entry.storedShape;
            if (isOther)
                m_lostTexts.insert(entry.name);
            return isOther;
        });
    auto file = m_names->isSafetensors() ? safetensorsFile(payload, entries) : ckptFile(payload, entries);
    if (!file)
        return file.takeError();
    file->name = std::move(name);
    file->rank = rank;
    m_out.flatFiles.push_back(file.take());
    return {};
}

void TargetMaker::addStrategyNotes(const RankSlices& slices)
{
    if (!slices.copiedSlices().empty())
        m_out.notes.push_back({Kind::Warning, "Not in the target's strategy",
                               fmt::format("Only one of the two strategies lists {}, and cuts it: each rank gets what a source rank holds, as it is, as by MindSpore's own transform. Check that this is what you want.",
                                           someNames(slices.copiedSlices()))});
    std::vector<std::string> absent;
    std::unordered_set<std::string_view> known;
    for (const SourceTensor& tensor : m_tensors)
        known.insert(tensor.name);
    for (const StrategyItem& item : m_strategy->items())
        if (known.insert(item.name).second)
            absent.push_back(item.name);
    for (const std::string& note : m_strategy->notes())
        m_out.notes.push_back({Kind::Warning, "Strategy", fmt::format("{}: {}.", printable(m_strategy->name()), note)});
    if (!absent.empty())
        m_out.notes.push_back({Kind::Info, "Only in the strategy", fmt::format("The target's strategy lists {} that the source does not hold: {}.",
                                                                               plural(absent.size(), "parameter", "parameters"), someNames(absent))});
}

Status TargetMaker::addRanks()
{
    const std::uint64_t world = m_strategy->worldSize();
    if (m_options.rank && *m_options.rank >= world)
        return Error{ErrorCode::Refused, fmt::format("--rank {}: the target's strategy is of the ranks 0 to {}", *m_options.rank, world - 1)};
    if (world > kMostRanks)
        return Error{ErrorCode::LimitExceeded, fmt::format("the target's strategy is of {} ranks, and at most {} are written", groupedText(world), groupedText(kMostRanks))};
    RankSlices slices(m_run.get(), m_joined, *m_strategy, m_tensors);
    if (slices.transformed() == 0)
        return Error{ErrorCode::Refused, fmt::format("no tensor of the source is in the strategy {}", printable(m_strategy->name()))};
    for (std::uint64_t rank = m_options.rank.value_or(0); rank < (m_options.rank ? *m_options.rank + 1ull : world); ++rank) {
        SHARDLENS_TRY(m_job.poll());
        SHARDLENS_ASSIGN(auto entries, slices.entriesOf(rank));
        if (std::none_of(entries.begin(), entries.end(), [](const OutputEntry& entry) { return entry.tensor != kNoTensor; }))
            return Error{ErrorCode::Refused, fmt::format("rank {} would hold nothing: the source has none of what {} lists for stage {}", rank, printable(m_strategy->name()),
                                                         m_strategy->stageOf(rank))};
        SHARDLENS_TRY(addFile(slices.payload(), std::move(entries), m_names->ofRank(rank), static_cast<std::uint32_t>(rank)));
    }
    addStrategyNotes(slices);
    if (m_options.rank)
        m_out.notes.push_back({Kind::Info, "One rank", fmt::format("Only the file of rank {} is written.", *m_options.rank)});
    const std::unordered_set<std::string_view> copied(slices.copiedSlices().begin(), slices.copiedSlices().end());
    for (const SourceTensor& tensor : m_tensors)
        if (!m_options.rank && !copied.contains(tensor.name))
            m_out.results.push_back({tensor.name, tensor.tensor, m_joined->tensor(tensor.tensor).dtype});
    m_out.payload = std::move(slices).finish();
    return {};
}

Status TargetMaker::addWhole()
{
    CheckpointBuilder payload(*m_joined);
    std::vector<OutputEntry> entries;
    for (const SourceTensor& tensor : m_tensors) {
        entries.push_back({tensor.name, tensor.tensor, {}, tensor.typeName, {}});
        m_out.results.push_back({tensor.name, tensor.tensor, m_joined->tensor(tensor.tensor).dtype});
    }
    std::unordered_set<std::string_view> others;
    for (std::size_t i = 0; m_run && i < m_run->files.size(); ++i)
        for (const CkptEntry& entry : m_run->files[i]->content.entries) {
            if (isTensor(entry) || !others.insert(entry.name).second)
                continue;
            SHARDLENS_ASSIGN(OutputEntry made, otherEntry(payload, *m_run->files[i], entry));
            entries.push_back(std::move(made));
        }
    SHARDLENS_TRY(addFile(payload, std::move(entries), m_names->ofWhole(), std::nullopt));
    if (m_run && m_run->strategy)
        m_out.notes.push_back({Kind::Kept, "Ranks", fmt::format("{} of {} become one model in one file; --strategy writes ranks.", plural(m_run->strategy->worldSize(), "rank", "ranks"),
                                                                plural(m_run->strategy->stageCount(), "stage", "stages"))});
    m_out.payload = std::move(payload).finish();
    return {};
}

// Rank folders without strategies: the same in the other container.
Status TargetMaker::addEachAsItIs()
{
    CheckpointBuilder payload(*m_joined);
    std::size_t next = 0;
    for (const auto& file : m_run->files) {
        SHARDLENS_TRY(m_job.poll());
        const std::string prefix = fmt::format("rank_{}/", file->rank);
        std::vector<OutputEntry> entries;
        for (const CkptEntry& entry : file->content.entries) {
            if (!isTensor(entry)) {
                SHARDLENS_ASSIGN(OutputEntry made, otherEntry(payload, *file, entry));
                entries.push_back(std::move(made));
                continue;
            }
            const SourceTensor& tensor = m_tensors.at(next++); // in the same order
            entries.push_back({entry.name, tensor.tensor, {}, entry.typeName == "Int4" ? entry.typeName : std::string(), {}});
            m_out.results.push_back({prefix + entry.name, tensor.tensor, entry.dtype});
        }
        SHARDLENS_TRY(addFile(payload, std::move(entries), m_names->ofRank(file->rank), file->rank));
    }
    m_out.payload = std::move(payload).finish();
    return {};
}

void TargetMaker::addNotes()
{
    if (m_run && m_run->strategy && m_strategy)
        m_out.notes.push_back({Kind::Kept, "Ranks", fmt::format("{} of {} become {} of {}; every tensor keeps its name and dtype.", plural(m_run->strategy->worldSize(), "rank", "ranks"),
                                                                plural(m_run->strategy->stageCount(), "stage", "stages"), m_strategy->worldSize(),
                                                                plural(m_strategy->stageCount(), "stage", "stages"))});
    if (!m_lostTexts.empty()) {
        std::vector<std::string> names(m_lostTexts.begin(), m_lostTexts.end());
        std::sort(names.begin(), names.end());
        m_out.notes.push_back({Kind::Dropped, "Entries that are no tensors", fmt::format("safetensors files of MindSpore hold tensors only: {}.", someNames(names))});
    }
    const auto ranksOf = [](const std::optional<Strategy>& strategy) { return strategy ? static_cast<std::uint32_t>(strategy->worldSize()) : 1u; };
    m_out.before = TargetLayout{m_source->formatTitle(), m_run ? ranksOf(m_run->strategy) : m_source->topology().worldSize()};
    m_out.after = TargetLayout{"MindSpore", ranksOf(m_strategy)};
}

Result<Target> TargetMaker::make()
{
    SHARDLENS_TRY(checkOptions());
    SHARDLENS_TRY(readSource());
    SHARDLENS_TRY(chooseTensors());
    if (m_options.strategy) {
        auto strategy = readStrategyOrFolder(*m_options.strategy);
        if (!strategy)
            return strategy.takeError().within("the target's strategy");
        m_strategy = strategy.take();
    }
    const bool hasSave = m_run && !m_run->folder.saves.empty();
    SHARDLENS_ASSIGN(m_names, TargetNames::make(m_options, hasSave ? m_run->folder.saves.front().name.stem : std::string(), m_run && m_run->files.front()->isSafetensors));
    const bool isApart = m_run && m_run->isByRank && !isWholeModel(*m_run);
    if (isApart && (m_strategy || !m_options.container || !m_options.fileName.empty()))
        return Error{ErrorCode::Refused, fmt::format("{} and no strategy of the source: --source-strategy says how they divide the tensors{}", plural(m_run->files.size(), "rank folder", "rank folders"),
                                                     m_strategy ? "" : " (or --output-format alone writes the same ranks in the other container)")};
    if (m_options.prefix && !m_strategy && !isApart)
        return Error{ErrorCode::Refused, "--prefix is the beginning of rank files' names, and without --strategy the whole model is written in one file"};
    SHARDLENS_TRY(m_strategy ? addRanks() : isApart ? addEachAsItIs() : addWhole());
    addNotes();
    return std::move(m_out);
}

} // namespace

Match probe(const Candidate& candidate)
{
    return matchRun(candidate);
}

Result<CheckpointPtr> open(const Candidate& candidate, const OpenOptions& options, JobContext& job)
{
    SHARDLENS_ASSIGN(auto run, readRankRun(candidate, options, job));
    return std::move(run->builder).finish();
}

Result<Target> layOut(const CheckpointPtr& source, const TargetOptions& options, JobContext& job)
{
    return TargetMaker(source, options, job).make();
}

} // namespace shardlens::mindspore
