// Who stores what where redundancy was removed (formats/mindspore.md §4.6, §6.5).
#include "core/base/text.h"
#include "core/layout/strategy_boxes.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>

namespace shardlens::mindspore {
namespace {

constexpr std::uint64_t kMostStoredSlices = std::uint64_t{1} << 28;

// The groups of ranks that hold the same slice, numbered over all layouts of a strategy: layouts that are cut differently may have the same groups.
class RankGroups {
public:
    struct Group {
        std::vector<std::uint64_t> ranks; // ascending
        std::uint64_t names = 0;          // that were given to it so far
    };
    // Numbers of the groups of a layout.
    const std::vector<std::uint32_t>& of(const Strategy& strategy, std::uint32_t layout);
    Group& group(std::uint32_t number) { return m_groups[number]; }

private:
    std::map<std::vector<std::uint64_t>, std::uint32_t> m_known;
    std::vector<Group> m_groups;
    std::map<std::uint32_t, std::vector<std::uint32_t>> m_ofLayout;
};

const std::vector<std::uint32_t>& RankGroups::of(const Strategy& strategy, std::uint32_t layout)
{
    const auto [at, isNew] = m_ofLayout.try_emplace(layout);
    if (!isNew)
        return at->second;
    const ParameterLayout& cut = strategy.layouts()[layout];
    for (const std::uint64_t first : firstRanks(cut)) {
        std::vector<std::uint64_t> ranks = ranksWithSameSlice(cut, first);
        const auto [known, isOther] = m_known.try_emplace(ranks, static_cast<std::uint32_t>(m_groups.size()));
        if (isOther)
            m_groups.push_back({std::move(ranks), 0});
        at->second.push_back(known->second);
    }
    return at->second;
}

std::vector<std::uint32_t> itemsByName(const Strategy& strategy, std::uint32_t stage)
{
    std::vector<std::uint32_t> out;
    const auto items = strategy.items();
    for (std::uint32_t i = 0; i < items.size(); ++i)
        if (items[i].stage == stage)
            out.push_back(i);
    std::sort(out.begin(), out.end(), [&](std::uint32_t a, std::uint32_t b) { return items[a].name < items[b].name; });
    return out;
}

} // namespace

Result<std::vector<std::vector<std::uint32_t>>> keptByRank(const Strategy& strategy, std::uint32_t stage)
{
    const std::vector<std::uint32_t> items = itemsByName(strategy, stage);
    if (items.size() * strategy.stageDeviceCount() > kMostStoredSlices)
        return Error{ErrorCode::LimitExceeded, fmt::format("{} over {} devices are too many slices to say who stores which",
                                                           plural(items.size(), "parameter", "parameters"), groupedText(strategy.stageDeviceCount()))};
    std::vector<std::vector<std::uint32_t>> out(static_cast<std::size_t>(strategy.stageDeviceCount()));
    RankGroups groups;
    for (const std::uint32_t item : items)
        for (const std::uint32_t number : groups.of(strategy, strategy.items()[item].layout)) {
            RankGroups::Group& group = groups.group(number);
            out[static_cast<std::size_t>(group.ranks[static_cast<std::size_t>(group.names++ % group.ranks.size())])].push_back(item);
        }
    return out;
}

} // namespace shardlens::mindspore
