#include "core/layout/mindspore_strategy.h"

#include "core/base/checked.h"
#include "core/base/text.h"
#include "core/layout/strategy_boxes.h"
#include "core/layout/strategy_text.h"

#include <fmt/format.h>

#include <algorithm>
#include <limits>
#include <map>
#include <set>
#include <tuple>

namespace shardlens::mindspore {
namespace {

constexpr std::uint32_t kMostStages = 1u << 16;

std::string storedNameOf(const StrategyItem& item, bool isMerged)
{
    return isMerged ? fmt::format("{}-{}", item.stage, item.name) : item.name;
}

// "0, 1, 5 to 7"; at most `most` runs.
std::string runsText(const std::vector<std::uint32_t>& numbers, std::size_t most)
{
    std::string out;
    std::size_t runs = 0;
    for (std::size_t i = 0; i < numbers.size();) {
        std::size_t end = i + 1;
        while (end < numbers.size() && numbers[end] == numbers[end - 1] + 1)
            ++end;
        if (++runs > most)
            return out + " …";
        out += out.empty() ? "" : ", ";
        out += end - i == 1 ? std::to_string(numbers[i]) : fmt::format("{} {} {}", numbers[i], end - i == 2 ? "and" : "to", numbers[end - 1]);
        i = end;
    }
    return out;
}

Error missingStages(const std::set<std::uint32_t>& found, std::uint64_t devices)
{
    constexpr std::size_t kSaid = 8;
    std::vector<std::uint32_t> missing;
    for (std::uint32_t stage = 0; stage < *found.rbegin() && missing.size() < kMostStages; ++stage)
        if (!found.contains(stage))
            missing.push_back(stage);
    const std::uint64_t firstRank = missing.front() * devices;
    const std::string ranks = devices == 1 ? fmt::format("rank {} writes",
                                                         firstRank) : fmt::format("any of ranks {} to {} writes", firstRank, firstRank + devices - 1);
    return {ErrorCode::Refused, fmt::format("it describes pipeline stage{} {}, and stage{} {} {} missing: the file of stage {} is one that {}; give the folder of all "
                                            "stages' files, or their merge",
                                            found.size() == 1 ? "" : "s", runsText({found.begin(), found.end()}, kSaid), missing.size() == 1 ? "" : "s", runsText(missing, kSaid),
                                            missing.size() == 1 ? "is" : "are", missing.front(), ranks)};
}

} // namespace

Status Strategy::addParameters(std::vector<StrategyParts::Parameter> parameters)
{
    if (parameters.size() > std::numeric_limits<std::uint32_t>::max())
        return Error{ErrorCode::LimitExceeded, "more parameters than fit"};
    std::map<ParameterLayout, std::uint32_t> known;
    std::string first;
    std::size_t lacking = 0;
    m_items.reserve(parameters.size());
    for (StrategyParts::Parameter& one : parameters) {
        lacking += one.layout.lacksOptimizerFields ? 1 : 0;
        const auto [at, isNew] = known.try_emplace(std::move(one.layout), static_cast<std::uint32_t>(m_layouts.size()));
        StrategyItem item{std::move(one.name), one.stage, at->second, std::move(one.fullShape)};
        const std::string shown = "parameter " + printable(storedNameOf(item, m_isMerged));
        if (isNew) {
            if (Status checked = checkLayout(at->first); !checked)
                return checked.takeError().within(shown);
            const std::uint64_t devices = deviceCount(at->first);
            if (!m_layouts.empty() && devices != m_stageDeviceCount)
                return Error{ErrorCode::Corrupt, fmt::format("its device matrix {} is of {}, and {} of {} is of {}",
                                                             shapeText(at->first.deviceMatrix), plural(devices, "device", "devices"),
                                                             shapeText(m_layouts.front().deviceMatrix), first, m_stageDeviceCount)}.within(shown);
            m_stageDeviceCount = devices;
            m_layouts.push_back(at->first);
        }
        if (first.empty())
            first = shown;
        m_items.push_back(std::move(item));
    }
    if (lacking != 0)
        m_notes.push_back(fmt::format("written before MindSpore 1.3 ({} without the optimizer's fields); assuming no optimizer shard",
                                      plural(lacking, "parameter", "parameters")));
    return {};
}

// Sorts the numbers of items by name and stage.
void Strategy::sortNames()
{
    m_byName.resize(m_items.size());
    for (std::size_t i = 0; i < m_byName.size(); ++i)
        m_byName[i] = static_cast<std::uint32_t>(i);
    std::sort(m_byName.begin(), m_byName.end(), [this](std::uint32_t a, std::uint32_t b) {
        return std::tie(m_items[a].name, m_items[a].stage, a) < std::tie(m_items[b].name, m_items[b].stage, b);
    });
}

Status Strategy::indexNames()
{
    sortNames();
    std::vector<bool> isRepeated(m_items.size(), false);
    std::size_t repeated = 0;
    m_nameRuns = 0;
    for (std::size_t i = 0; i < m_byName.size(); ++i) {
        const StrategyItem& item = m_items[m_byName[i]];
        const StrategyItem* before = i == 0 ? nullptr : &m_items[m_byName[i - 1]];
        const bool isSameName = before != nullptr && before->name == item.name;
        m_nameRuns += isSameName ? 0 : 1;
        if (!isSameName || before->stage != item.stage)
            continue;
        if (before->layout != item.layout)
            return Error{ErrorCode::Corrupt, "it is listed twice, with different layouts"}.within("parameter " + printable(storedNameOf(item, m_isMerged)));
        isRepeated[m_byName[i]] = true;
        ++repeated;
    }
    if (repeated == 0)
        return {};
    m_notes.push_back(fmt::format("{} listed twice, with equal layouts", plural(repeated, "parameter is", "parameters are")));
    std::vector<StrategyItem> kept;
    for (std::size_t i = 0; i < m_items.size(); ++i)
        if (!isRepeated[i])
            kept.push_back(std::move(m_items[i]));
    m_items = std::move(kept);
    sortNames();
    return {};
}

Status Strategy::countStages()
{
    std::set<std::uint32_t> stages;
    for (const StrategyItem& item : m_items)
        stages.insert(item.stage);
    const std::uint32_t last = *stages.rbegin();
    if (last >= kMostStages)
        return Error{ErrorCode::LimitExceeded, fmt::format("pipeline stage {}, at most {} stages are read", last, kMostStages)};
    if (stages.size() != last + 1u)
        return missingStages(stages, m_stageDeviceCount);
    m_stageCount = last + 1;
    m_isMerged = m_isMerged || m_stageCount > 1;
    if (worldSize() > kMostStrategyRanks)
        return Error{ErrorCode::LimitExceeded, fmt::format("{} stages of {} devices, at most {} ranks are read",
                                                           m_stageCount, m_stageDeviceCount, groupedText(kMostStrategyRanks))};
    return {};
}

Result<Strategy> Strategy::make(StrategyParts parts)
{
    if (parts.parameters.empty())
        return Error{ErrorCode::Refused, "it lists no sliced parameters"};
    Strategy out;
    out.m_name = std::move(parts.name);
    out.m_currentStage = parts.currentStage;
    out.m_isMerged = parts.isMerged;
    out.m_operators = std::move(parts.operators);
    out.m_notes = std::move(parts.notes);
    SHARDLENS_TRY(out.addParameters(std::move(parts.parameters)));
    SHARDLENS_TRY(out.indexNames());
    SHARDLENS_TRY(out.countStages());
    return out;
}

std::span<const std::uint32_t> Strategy::itemsNamed(std::string_view parameter) const
{
    struct ByName {
        const std::vector<StrategyItem>& items;
        bool operator()(std::uint32_t item, std::string_view name) const { return items[item].name < name; }
        bool operator()(std::string_view name, std::uint32_t item) const { return name < items[item].name; }
    };
    const auto [begin, end] = std::equal_range(m_byName.begin(), m_byName.end(), parameter, ByName{m_items});
    return {begin, end};
}

const StrategyItem* Strategy::find(std::string_view parameter, std::uint32_t stage) const
{
    const auto run = itemsNamed(parameter);
    const auto at = std::lower_bound(run.begin(), run.end(), stage, [this](std::uint32_t item, std::uint32_t wanted) { return m_items[item].stage < wanted; });
    return at != run.end() && m_items[*at].stage == stage ? &m_items[*at] : nullptr;
}

const StrategyItem* Strategy::findLowest(std::string_view parameter) const
{
    const auto run = itemsNamed(parameter);
    return run.empty() ? nullptr : &m_items[run.front()];
}

std::vector<std::uint32_t> Strategy::stagesOf(std::string_view parameter) const
{
    std::vector<std::uint32_t> out;
    for (const std::uint32_t item : itemsNamed(parameter))
        out.push_back(m_items[item].stage);
    return out;
}

} // namespace shardlens::mindspore
