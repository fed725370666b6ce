#include "core/format/mindspore/join.h"

#include "core/base/text.h"
#include "core/encoding/mindspore_pieces.h"
#include "core/layout/strategy_boxes.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <optional>
#include <set>
#include <span>
#include <string_view>
#include <unordered_map>

namespace shardlens::mindspore {
namespace {

constexpr std::string_view kAccumulator = "accu_grads."; // of gradients (§3.2.1)
constexpr std::size_t kFindingsOfAKind = 20;
constexpr std::uint64_t kLostNamed = 200;

// An entry and the file that it lies in.
struct Holding {
    const WeightsFile* file;
    const CkptEntry* entry;
    HolderId holder;
};

// The entries of one name, by ascending rank.
struct NamedEntries {
    std::string_view name;
    std::vector<Holding> holdings;
};

// How many there are, with the first of them.
struct Example {
    std::uint64_t count = 0;
    std::string example;

    void add(std::string one)
    {
        if (count++ == 0)
            example = std::move(one);
    }
};

// Counts findings of a kind and says the first of them.
class FindingCount {
public:
    explicit FindingCount(RankRun& run) : m_run(run) {}

    void add(Severity severity, const char* code, std::string text, const WeightsFile* file = nullptr)
    {
        if (m_counts[code]++ < kFindingsOfAKind)
            m_run.find(severity, code, std::move(text), file);
        else
            m_severities.insert_or_assign(code, severity);
    }
    void finish()
    {
        for (const auto& [code, severity] : m_severities)
            m_run.find(severity, code, fmt::format("{} more like these.", groupedText(m_counts.at(code) - kFindingsOfAKind)));
    }

private:
    RankRun& m_run;
    std::map<std::string, std::uint64_t, std::less<>> m_counts;
    std::map<std::string, Severity, std::less<>> m_severities;
};

class StrategyJoin {
public:
    explicit StrategyJoin(RankRun& run) : m_run(run), m_strategy(*run.strategy), m_findings(run) {}

    Status join(JobContext& job);

private:
    void collect();
    Status joinOne(const NamedEntries& named);
    Status joinUnlisted(const NamedEntries& named);
    // Whether every slice of the stage is held.
    Result<bool> joinStage(const NamedEntries& named, const StrategyItem& item, std::span<const Holding> holdings, bool isOnly);
    // A layout of a stage with what is found out about it once for many ranks.
    struct Cut {
        ParameterLayout layout;
        std::vector<std::uint64_t> sliceOfRank; // by local rank
        std::uint64_t slices = 1;
    };
    [[nodiscard]] const Cut& cutOf(std::uint32_t layout);
    [[nodiscard]] Cut cutBy(const ParameterLayout& layout) const;
    Status addSlice(const NamedEntries& named, const Cut& cut, const Holding& holding, std::vector<std::optional<Box>>& boxes);
    Status addHoles(const NamedEntries& named, const StrategyItem& item, const Cut& cut, const std::vector<bool>& isHeld);
    [[nodiscard]] std::optional<ParameterLayout> correctedLayout(const NamedEntries& named, const StrategyItem& item, const Holding& first) const;
    std::span<const Holding> ofStage(const NamedEntries& named, std::uint32_t stage) const;
    TensorId addTensor(std::string_view name, DType dtype, Shape shape, bool isAssumed);
    void addHoleFindings();
    [[nodiscard]] bool isStageKnown(std::uint32_t stage) const;
    void addFacts();
    void addUnheld(const std::set<std::uint32_t>& harmedStages);

    RankRun& m_run;
    const Strategy& m_strategy;
    FindingCount m_findings;
    std::unordered_map<std::uint32_t, Cut> m_cuts; // by number of the layout
    std::vector<NamedEntries> m_names;
    std::unordered_map<std::string_view, std::size_t> m_places;
    TensorId m_tensor = kNoTensor; // the one being made; kNoTensor: none yet
    std::map<std::uint64_t, Example> m_holes; // slices that nobody holds, by rank
    Example m_otherwiseCut;                   // copies of further stages
    std::uint64_t m_storedOnce = 0; // slices that ranks lack which others of their group have
};

void StrategyJoin::collect()
{
    for (const auto& file : m_run.files) {
        if (!file->isRead)
            continue;
        const HolderId holder = m_run.holderOf(*file);
        m_places.reserve(file->content.entries.size());
        for (const CkptEntry& entry : file->content.entries) {
            if (!isTensor(entry))
                continue;
            const auto [place, isNew] = m_places.try_emplace(entry.name, m_names.size());
            if (isNew)
                m_names.push_back({entry.name, {}});
            m_names[place->second].holdings.push_back({file.get(), &entry, holder});
        }
    }
}

Status StrategyJoin::join(JobContext& job)
{
    collect();
    std::size_t count = 0;
    for (const NamedEntries& named : m_names) {
        if (count++ % 256 == 0)
            SHARDLENS_TRY(job.poll());
        if (Status joined = joinOne(named); !joined)
            return joined.takeError().within(printable(named.name));
    }
    addHoleFindings();
    m_findings.finish();
    addFacts();
    return {};
}

// Holdings ascend by rank, and a stage's ranks are a run of them.
std::span<const Holding> StrategyJoin::ofStage(const NamedEntries& named, std::uint32_t stage) const
{
    if (m_strategy.stageCount() == 1)
        return named.holdings;
    const auto stageOf = [&](const Holding& holding) { return m_strategy.stageOf(holding.file->rank); };
    const auto first = std::find_if(named.holdings.begin(), named.holdings.end(), [&](const Holding& one) { return stageOf(one) >= stage; });
    const auto last = std::find_if(first, named.holdings.end(), [&](const Holding& one) { return stageOf(one) > stage; });
    return {first, last};
}

Status StrategyJoin::joinOne(const NamedEntries& named)
{
    m_tensor = kNoTensor;
    std::vector<std::pair<const StrategyItem*, std::span<const Holding>>> stages;
    for (const std::uint32_t number : m_strategy.itemsNamed(named.name)) {
        const StrategyItem& item = m_strategy.items()[number];
        if (const auto holdings = ofStage(named, item.stage); !holdings.empty())
            stages.emplace_back(&item, holdings);
    }
    if (stages.empty())
        return joinUnlisted(named);
    bool hasHoles = true;
    for (const auto& [item, holdings] : stages) {
        if (item != stages.front().first && item->layout != stages.front().first->layout && !hasHoles) {
            // Cut otherwise, a reader would take some values from here and some from there: the lowest stage counts alone (§5.7).
            m_otherwiseCut.add(printable(named.name));
            continue;
        }
        SHARDLENS_ASSIGN(const bool isWhole, joinStage(named, *item, holdings, stages.size() == 1));
        hasHoles = hasHoles && !isWhole;
    }
    return {};
}

TensorId StrategyJoin::addTensor(std::string_view name, DType dtype, Shape shape, bool isAssumed)
{
    Tensor tensor{m_run.builder.parameter(name), m_run.builder.role(RoleKind::Weight, "weight"), dtype, Combine::Replicas, true, std::move(shape)};
    tensor.unprovenCopies = isAssumed;
    return m_run.builder.addTensor(std::move(tensor));
}

// What no strategy names is the same on every rank; the lowest rank's counts (§5.7).
Status StrategyJoin::joinUnlisted(const NamedEntries& named)
{
    const Holding& first = named.holdings.front();
    m_tensor = addTensor(named.name, first.entry->dtype, first.entry->shape, named.holdings.size() > 1);
    for (const Holding& holding : named.holdings) {
        if (holding.entry->dtype != first.entry->dtype || holding.entry->shape != first.entry->shape) {
            m_findings.add(Severity::Warning, "differs-between-ranks",
                           fmt::format("{} is in no strategy, and rank {} holds {} {} where rank {} holds {} {}: the latter is shown.", printable(named.name), holding.file->rank,
                                       nameOf(holding.entry->dtype), shapeText(holding.entry->shape), first.file->rank, nameOf(first.entry->dtype), shapeText(first.entry->shape)),
                           holding.file);
            continue;
        }
        SHARDLENS_TRY(addWholeEntry(m_run.builder, m_tensor, *holding.entry, {holding.file->id, holding.holder}));
    }
    return {};
}

// The layout of an accumulator of gradients may claim an optimizer shard that the tensor has not (§3.2.1): the shape of its weight tells. Nothing where the
// strategy is right.
std::optional<ParameterLayout> StrategyJoin::correctedLayout(const NamedEntries& named, const StrategyItem& item, const Holding& first) const
{
    const ParameterLayout& layout = m_strategy.layoutOf(item);
    if (layout.optShardSize == 0 || !named.name.starts_with(kAccumulator))
        return std::nullopt;
    const std::string_view weight = named.name.substr(kAccumulator.size());
    const StrategyItem* weightItem = m_strategy.find(weight, item.stage);
    const CkptEntry* weightEntry = first.file->find(weight);
    if (weightItem == nullptr || weightEntry == nullptr)
        return std::nullopt;
    ParameterLayout plain = layout;
    plain.optShardStep = plain.optShardSize = 0;
    const auto whole = fullShapeOf(m_strategy.layoutOf(*weightItem), weightEntry->shape);
    const auto asPlain = fullShapeOf(plain, first.entry->shape);
    return whole && asPlain && *whole == *asPlain ? std::optional(plain) : std::nullopt;
}

const StrategyJoin::Cut& StrategyJoin::cutOf(std::uint32_t layout)
{
    const auto [at, isNew] = m_cuts.try_emplace(layout);
    if (isNew)
        at->second = cutBy(m_strategy.layouts()[layout]);
    return at->second;
}

StrategyJoin::Cut StrategyJoin::cutBy(const ParameterLayout& layout) const
{
    Cut out{layout, {}, sliceCount(layout)};
    for (std::uint64_t local = 0; local < m_strategy.stageDeviceCount(); ++local)
        out.sliceOfRank.push_back(sliceOf(layout, local));
    return out;
}

// `boxes` are those of the slices, as far as they were asked for.
Status StrategyJoin::addSlice(const NamedEntries& named, const Cut& cut, const Holding& holding, std::vector<std::optional<Box>>& boxes)
{
    const std::uint64_t local = m_strategy.localRankOf(holding.file->rank);
    const Tensor& tensor = m_run.builder.tensor(m_tensor);
    std::optional<Box>& box = boxes[cut.sliceOfRank[local]];
    if (!box) {
        SHARDLENS_ASSIGN(box, boxOf(cut.layout, tensor.shape, local));
    }
    if (holding.entry->dtype != tensor.dtype)
        return Error{ErrorCode::Corrupt, fmt::format("rank {} holds {} as {}, and a lower rank as {}", holding.file->rank, printable(named.name), nameOf(holding.entry->dtype), nameOf(tensor.dtype))};
    if (holding.entry->shape != box->extent)
        return Error{ErrorCode::Corrupt, fmt::format("rank {} holds {} of {}, and the strategy says {}", holding.file->rank, shapeText(holding.entry->shape), printable(named.name),
                                                     shapeText(box->extent))};
    const CkptPlace place{holding.file->id, holding.holder};
    return box->extent == tensor.shape ? addWholeEntry(m_run.builder, m_tensor, *holding.entry, place) : addEntryBox(m_run.builder, m_tensor, *holding.entry, *box, place);
}

Result<bool> StrategyJoin::joinStage(const NamedEntries& named, const StrategyItem& item, std::span<const Holding> holdings, bool isOnly)
{
    const Holding& first = holdings.front();
    const auto corrected = correctedLayout(named, item, first);
    if (corrected)
        m_run.plainAccumulators.insert(std::string(named.name));
    const Cut ofCorrected = corrected ? cutBy(*corrected) : Cut{};
    const Cut& cut = corrected ? ofCorrected : cutOf(item.layout);
    const auto full = fullShapeOf(cut.layout, first.entry->shape);
    if (!full) {
        m_run.builder.addLost({std::string(named.name), RoleKind::Weight, fmt::format("{} by the strategy {}: {}", printable(named.name), printable(m_strategy.name()), full.error().text())},
                              "wrong-shape", first.file->id);
        return false;
    }
    const bool contradicts = (item.fullShape && *item.fullShape != *full) || (m_tensor != kNoTensor && m_run.builder.tensor(m_tensor).shape != *full);
    if (contradicts) {
        const Shape& known = m_tensor != kNoTensor ? m_run.builder.tensor(m_tensor).shape : *item.fullShape;
        m_findings.add(Severity::Error, "wrong-shape", fmt::format("{} would be {} by the slice of rank {}, and {} says {}.", printable(named.name), shapeText(*full), first.file->rank,
                                                                    m_tensor != kNoTensor ? "another stage" : "the strategy", shapeText(known)), first.file);
        if (m_tensor != kNoTensor)
            return false;
    }
    if (m_tensor == kNoTensor)
        m_tensor = addTensor(named.name, first.entry->dtype, *full, false);
    std::vector<bool> isHeld(cut.slices, false);
    std::vector<std::optional<Box>> boxes(cut.slices);
    for (const Holding& holding : holdings) {
        if (Status added = addSlice(named, cut, holding, boxes); added)
            isHeld[cut.sliceOfRank[m_strategy.localRankOf(holding.file->rank)]] = true;
        else
            m_findings.add(Severity::Error, "wrong-shape", added.error().text() + ".", holding.file);
    }
    m_storedOnce += m_strategy.stageDeviceCount() - std::min<std::uint64_t>(holdings.size(), m_strategy.stageDeviceCount());
    const bool isWhole = std::find(isHeld.begin(), isHeld.end(), false) == isHeld.end();
    if (isOnly && !isWhole)
        SHARDLENS_TRY(addHoles(named, item, cut, isHeld));
    return isWhole;
}

// Slices that no rank of their group holds (§6.5).
Status StrategyJoin::addHoles(const NamedEntries& named, const StrategyItem& item, const Cut& cut, const std::vector<bool>& isHeld)
{
    const std::uint64_t firstRank = item.stage * m_strategy.stageDeviceCount();
    for (const std::uint64_t local : firstRanks(cut.layout)) {
        if (isHeld[cut.sliceOfRank[local]])
            continue;
        const WeightsFile& file = *m_run.files[firstRank + local];
        SHARDLENS_ASSIGN(const Box box, boxOf(cut.layout, m_run.builder.tensor(m_tensor).shape, local));
        const StreamId missing = m_run.builder.addStream({Stream::Kind::Missing, file.id});
        SHARDLENS_TRY(m_run.builder.addPiece(m_tensor, BoxView(box), {missing, 0, m_run.holderOf(file), {}}));
        m_holes[firstRank + local].add(fmt::format("{} {}", printable(named.name), regionText(BoxView(box))));
    }
    return {};
}

// Whether all that the strategy lists for a stage was seen in some file; accumulators are never saved (§3.2.1).
bool StrategyJoin::isStageKnown(std::uint32_t stage) const
{
    return std::all_of(m_strategy.items().begin(), m_strategy.items().end(),
                       [&](const StrategyItem& item) { return item.stage != stage || item.name.starts_with(kAccumulator) || m_places.contains(item.name); });
}

// One finding a rank; where the elements are, the pieces say.
void StrategyJoin::addHoleFindings()
{
    for (const auto& [rank, holes] : m_holes)
        m_findings.add(Severity::Error, "missing-slice", fmt::format("Rank {} lacks {} that no other rank holds ({}{}).", rank, plural(holes.count, "slice", "slices"), holes.example,
                                                                      holes.count > 1 ? " …" : ""), m_run.files[rank].get());
    std::vector<bool> isKnown;
    for (std::uint32_t stage = 0; stage < m_strategy.stageCount(); ++stage)
        isKnown.push_back(isStageKnown(stage));
    for (const auto& file : m_run.files)
        if (!file->isRead && !m_holes.contains(file->rank) && isKnown[m_strategy.stageOf(file->rank)])
            m_findings.add(Severity::Info, "held-by-others", fmt::format("All that rank {} held is held by other ranks too.", file->rank), file.get());
}

void StrategyJoin::addFacts()
{
    std::set<std::uint32_t> harmed; // stages with a file that is not whole
    for (const auto& file : m_run.files)
        if (!file->isRead || !file->content.lost.empty() || std::any_of(file->content.notes.begin(), file->content.notes.end(), [](const CkptNote& note) { return note.severity == Severity::Error; }))
            harmed.insert(m_strategy.stageOf(file->rank));
    addUnheld(harmed);
    if (m_otherwiseCut.count > 0)
        m_run.find(Severity::Info, "cut-otherwise", fmt::format("{} of further stages, which cut {} otherwise than the lowest stage, {} not shown ({}{}).", plural(m_otherwiseCut.count, "copy", "copies"),
                                                                m_otherwiseCut.count == 1 ? "it" : "them", m_otherwiseCut.count == 1 ? "is" : "are", m_otherwiseCut.example,
                                                                m_otherwiseCut.count > 1 ? " …" : ""));
    if (m_storedOnce > 0 && harmed.empty())
        m_run.builder.addFact("redundancy removed", fmt::format("{} that other ranks store", plural(m_storedOnce, "copy", "copies")));
}

// What the strategy lists and no file holds: of whole files something that is not saved, as moments in a save of the network; of harmed ones lost.
void StrategyJoin::addUnheld(const std::set<std::uint32_t>& harmedStages)
{
    Example unheld;
    std::uint64_t lost = 0;
    for (const StrategyItem& item : m_strategy.items()) {
        if (m_places.contains(item.name) || m_strategy.findLowest(item.name) != &item) // once each
            continue;
        const std::vector<std::uint32_t> stages = m_strategy.stagesOf(item.name);
        if (std::none_of(stages.begin(), stages.end(), [&](std::uint32_t stage) { return harmedStages.contains(stage); }) || item.name.starts_with(kAccumulator))
            unheld.add(printable(item.name));
        else if (lost++ < kLostNamed)
            m_run.builder.addLost({item.name, RoleKind::Weight, fmt::format("{}: no file of stage {} that can be read holds it", printable(item.name), item.stage)}, "missing-parameter", kNoFile);
    }
    if (lost > kLostNamed)
        m_run.find(Severity::Error, "missing-parameter", fmt::format("{} more parameters are in no file that can be read.", groupedText(lost - kLostNamed)));
    if (unheld.count > 0)
        m_run.find(Severity::Info, "listed-only", fmt::format("The strategy lists {} that no file holds ({}{}).", plural(unheld.count, "parameter", "parameters"), unheld.example,
                                                              unheld.count > 1 ? " …" : ""));
}

// Each file's entries as they are; `prefix` tells ranks apart.
Status addEntries(RankRun& run, const WeightsFile& file, const std::string& prefix)
{
    const RoleId role = run.builder.role(RoleKind::Weight, "weight");
    const HolderId holder = run.holderOf(file);
    for (const CkptEntry& entry : file.content.entries) {
        if (!isTensor(entry))
            continue;
        const std::string name = prefix + entry.name;
        const auto part = run.partOf.find(entry.name);
        if (part != run.partOf.end() && part->second != file.name)
            continue; // the map says that it is another file's
        if (run.builder.hasParameter(name)) {
            run.find(Severity::Warning, "repeated-name", fmt::format("{} holds {} again, which another file has: the first counts.", printable(file.name), printable(entry.name)), &file);
            continue;
        }
        const TensorId id = run.builder.addTensor({run.builder.parameter(name), role, entry.dtype, Combine::Exclusive, true, entry.shape});
        if (Status added = addWholeEntry(run.builder, id, entry, {file.id, holder}); !added)
            return added.takeError().within(printable(name));
    }
    return {};
}

// What a file lost is lost to the model, or with a strategy a hole that is found otherwise.
void addLostEntries(RankRun& run, const WeightsFile& file, const std::string& prefix)
{
    for (const CkptLost& lost : file.content.lost) {
        const std::string text = fmt::format("{}: {}: {}", printable(file.name), printable(lost.name), lost.problem);
        if (run.strategy)
            run.find(Severity::Error, lost.code, text + ".", &file);
        else
            run.builder.addLost({prefix + lost.name, RoleKind::Weight, text}, lost.code, file.id);
    }
}

} // namespace

Status joinRanks(RankRun& run, JobContext& job)
{
    for (const auto& file : run.files) {
        SHARDLENS_TRY(job.poll());
        if (!file->isRead)
            continue;
        const std::string prefix = run.isByRank ? fmt::format("rank_{}/", file->rank) : std::string();
        addLostEntries(run, *file, prefix);
        if (!run.strategy)
            SHARDLENS_TRY(addEntries(run, *file, prefix));
    }
    return run.strategy ? StrategyJoin(run).join(job) : Status{};
}

} // namespace shardlens::mindspore
