#include "core/format/deepspeed/moe_groups.h"

#include "core/base/text.h"
#include "core/format/deepspeed/experts.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>

namespace shardlens::deepspeed {
namespace {

constexpr std::string_view kGroupName = "ep_size_";

Error mixedGroup(std::size_t group)
{
    return {ErrorCode::Corrupt, fmt::format("group {} holds parameters of experts and others, which are cut over different ranks", group)};
}

// Whether a group holds experts: all of its parameters, or none.
Result<bool> holdsExperts(const ParameterGroup& group, std::size_t index)
{
    const auto experts = std::count_if(group.begin(), group.end(), [](const ParameterShape& one) { return expertParameterOf(one.name).has_value(); });
    if (experts != 0 && static_cast<std::size_t>(experts) != group.size())
        return mixedGroup(index);
    return experts != 0;
}

FlatGroup plainGroup(const Run& run, std::size_t index)
{
    FlatGroup out{index, run.allRanks(), {}, fmt::format("group {}", index)};
    for (const ParameterShape& parameter : run.groups[index])
        out.names.push_back(parameter.name);
    return out;
}

} // namespace

std::optional<std::uint32_t> namedExpertSize(pickle::Value paramGroup)
{
    const auto name = paramGroup.find("name").asText();
    if (!name || !name->starts_with(kGroupName) || !paramGroup.find("moe").asBool().value_or(false))
        return std::nullopt;
    std::uint32_t size = 0;
    const char* const end = name->data() + name->size();
    const auto [at, problem] = std::from_chars(name->data() + kGroupName.size(), end, size);
    return problem == std::errc{} && at == end && size != 0 ? std::optional(size) : std::nullopt;
}

Result<std::optional<std::uint32_t>> expertSizeOf(const Run& run, std::size_t group)
{
    SHARDLENS_ASSIGN(const bool experts, holdsExperts(run.groups[group], group));
    const auto first = run.firstOptimizer();
    if (!first)
        return std::optional<std::uint32_t>{};
    const pickle::Value state = run.optimizerState(*first);
    const auto parts = countOf(state.find("partition_count").at(group));
    const auto named = namedExpertSize(state.find("base_optimizer_state").find("param_groups").at(group));
    if (!experts) {
        if (parts && !run.folder.experts.empty() && *parts != run.world)
            return Error{ErrorCode::Corrupt, fmt::format("group {} holds no experts, and is cut over {} of {}", group, *parts, plural(run.world, "rank", "ranks"))};
        return std::optional<std::uint32_t>{};
    }
    if (parts && (*parts == 0 || run.world % *parts != 0))
        return Error{ErrorCode::Corrupt, fmt::format("group {} of experts is cut over {} parts, which do not divide {}", group, *parts, plural(run.world, "rank", "ranks"))};
    const auto counted = parts ? std::optional(static_cast<std::uint32_t>(run.world / *parts)) : std::nullopt;
    if (named && counted && *named != *counted)
        return Error{ErrorCode::Corrupt, fmt::format("group {} is called ep_size_{}, and partition_count says an expert-parallel size of {}", group, *named, *counted)};
    return named ? named : counted;
}

Result<std::vector<FlatGroup>> flatGroupsOf(const Run& run)
{
    std::vector<FlatGroup> out;
    for (std::size_t index = 0; index < run.groups.size(); ++index) {
        SHARDLENS_ASSIGN(const auto size, expertSizeOf(run, index));
        if (!size || !run.expertRanks) {
            out.push_back(plainGroup(run, index));
            continue;
        }
        const ExpertRanks ranks(run.world, *size, run.expertRanks->dataFirst());
        for (std::uint32_t expertRank = 0; expertRank < *size; ++expertRank) {
            FlatGroup group{index, ranks.ranksOf(expertRank), {}, *size == 1 ? fmt::format("group {}", index) : fmt::format("group {}, expert rank {}", index, expertRank)};
            for (const ParameterShape& parameter : run.groups[index])
                group.names.push_back(globalNames(run, parameter.name).at(expertRank));
            out.push_back(std::move(group));
        }
    }
    return out;
}

} // namespace shardlens::deepspeed
