#include "core/layout/strategy_ranks.h"

#include "core/base/text.h"
#include "core/layout/strategy_boxes.h"
#include "core/layout/strategy_refine.h"

#include <fmt/format.h>

#include <algorithm>
#include <set>

namespace shardlens::mindspore {
namespace {

constexpr std::uint64_t kMostStageItems = std::uint64_t{1} << 28;
constexpr std::uint64_t kMostGatheredRanks = std::uint64_t{1} << 32;

// Marks the ranks, modulo isNeeded.size(), that agree with `rank` on every axis that is not gathered.
void markGathered(const NeededRanks::Gather& gather, std::uint64_t rank, std::vector<bool>& isNeeded)
{
    std::uint64_t base = 0;
    std::vector<std::uint64_t> offsets{0};
    std::uint64_t stride = 1;
    for (std::size_t i = gather.axes.size(); i-- > 0; stride *= gather.axes[i]) {
        if (!gather.isGathered[i]) {
            base += rank / stride % gather.axes[i] * stride;
            continue;
        }
        const std::size_t before = offsets.size();
        for (std::uint64_t step = 1; step < gather.axes[i]; ++step)
            for (std::size_t k = 0; k < before; ++k)
                offsets.push_back(offsets[k] + step * stride);
    }
    for (const std::uint64_t offset : offsets)
        isNeeded[static_cast<std::size_t>((base + offset) % isNeeded.size())] = true;
}

// The layout that MindSpore takes for a parameter of a target stage: its own in stage 0; in later ones, which it treats alike, the last in the file that is
// not stage 0's (§3.8). nullptr where the stage does not list the parameter.
const StrategyItem* takenItem(const Strategy& target, std::string_view name, std::uint32_t stage)
{
    const StrategyItem* own = target.find(name, stage);
    if (own == nullptr || stage == 0)
        return own;
    const auto items = target.items();
    std::uint32_t last = 0;
    for (const std::uint32_t one : target.itemsNamed(name))
        if (items[one].stage > 0)
            last = std::max(last, one);
    return &items[last];
}

} // namespace

Result<NeededRanks::StageNeeds> NeededRanks::needsOf(std::uint32_t targetStage) const
{
    std::set<std::uint32_t> stages;
    std::set<std::pair<std::uint32_t, std::uint32_t>> pairs; // of layouts
    std::set<Gather> gathers;
    const auto items = m_source->items();
    for (std::uint32_t i = 0; i < items.size(); ++i) {
        const auto named = m_source->itemsNamed(items[i].name);
        if (named.front() != i)
            continue; // its lowest stage's layout counts
        const StrategyItem* wanted = m_target == nullptr ? nullptr : takenItem(*m_target, items[i].name, targetStage);
        const bool isElsewhere = m_target != nullptr && wanted == nullptr && m_target->findLowest(items[i].name) != nullptr;
        if (isElsewhere)
            continue; // dropped from both maps (§5.2)
        for (const std::uint32_t one : named)
            stages.insert(items[one].stage);
        if (m_target != nullptr && wanted == nullptr)
            continue; // copied, not transformed
        if (!pairs.emplace(items[i].layout, wanted == nullptr ? 0 : wanted->layout).second)
            continue;
        const ParameterLayout& source = m_source->layoutOf(items[i]);
        const ParameterLayout* target = wanted == nullptr ? nullptr : &m_target->layoutOf(*wanted);
        if (target != nullptr && target->tensorMap.size() != source.tensorMap.size())
            return Error{ErrorCode::Refused, fmt::format("the source's layout is of {}, the target's of {}",
                                                         plural(source.tensorMap.size(), "dimension", "dimensions"), target->tensorMap.size())}
                .within("parameter " + printable(items[i].name));
        gathers.insert(gatherOf(source, target));
    }
    return StageNeeds{{gathers.begin(), gathers.end()}, {stages.begin(), stages.end()}};
}

Result<NeededRanks> NeededRanks::make(const Strategy* source, const Strategy* target)
{
    NeededRanks out(source, target);
    if (source == nullptr)
        return out;
    const std::uint64_t from = source->stageDeviceCount();
    const std::uint64_t to = target == nullptr ? 1 : target->stageDeviceCount();
    if (std::max(from, to) % std::min(from, to) != 0)
        return Error{ErrorCode::Refused, fmt::format("a stage of the source has {}, one of the target {}: MindSpore's transform wants one to divide the other, so that "
                                                     "there is no list of ranks",
                                                     plural(from, "device", "devices"), to)};
    const std::uint64_t stages = target == nullptr ? 1 : target->stageCount();
    if (stages * source->items().size() > kMostStageItems)
        return Error{ErrorCode::LimitExceeded, fmt::format("{} for {}", plural(source->items().size(), "parameter", "parameters"), plural(stages, "target stage", "target stages"))};
    for (std::uint32_t stage = 0; stage < stages; ++stage) {
        SHARDLENS_ASSIGN(StageNeeds needs, out.needsOf(stage));
        out.m_stages.push_back(std::move(needs));
    }
    return out;
}

std::uint64_t NeededRanks::targetRanks() const
{
    return m_target == nullptr ? 1 : m_target->worldSize();
}

Result<std::vector<std::uint64_t>> NeededRanks::of(std::uint64_t targetRank) const
{
    if (targetRank >= targetRanks())
        return Error{ErrorCode::Refused, fmt::format("rank {} is asked for, and the target has {}",
                                                     targetRank, m_target == nullptr ? "rank 0 only: without --strategy it is one device" : fmt::format("ranks 0 to {}", targetRanks() - 1))};
    if (m_source == nullptr)
        return std::vector<std::uint64_t>{0};
    const std::uint64_t devices = m_source->stageDeviceCount();
    const StageNeeds& needs = m_stages[m_target == nullptr ? 0 : m_target->stageOf(targetRank)];
    // As MindSpore has it: where a stage of the target is one device, its rank is not taken modulo that, and so picks the replica.
    const std::uint64_t localRank = m_target == nullptr ? 0 : m_target->stageDeviceCount() == 1 ? targetRank : m_target->localRankOf(targetRank);
    if (needs.gathers.size() * std::max(devices, m_target == nullptr ? 1 : m_target->stageDeviceCount()) > kMostGatheredRanks)
        return Error{ErrorCode::LimitExceeded, fmt::format("{} different layouts over {} devices", groupedText(needs.gathers.size()), groupedText(devices))};
    std::vector<bool> isNeeded(static_cast<std::size_t>(devices), false);
    for (const Gather& gather : needs.gathers)
        markGathered(gather, localRank, isNeeded);
    std::vector<std::uint64_t> out;
    for (auto stage = needs.sourceStages.rbegin(); stage != needs.sourceStages.rend(); ++stage)
        for (std::uint64_t local = devices; local-- > 0;)
            if (isNeeded[static_cast<std::size_t>(local)])
                out.push_back(*stage * devices + local);
    return out;
}

} // namespace shardlens::mindspore
