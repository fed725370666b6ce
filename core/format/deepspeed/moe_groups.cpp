#include "core/format/deepspeed/moe_groups.h"

#include "core/base/text.h"
#include "core/format/deepspeed/experts.h"
#include "core/format/deepspeed/stacked_experts.h"

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
Result<bool> holdsExperts(const Run& run, std::size_t index)
{
    const ParameterGroup& group = run.groups[index];
    const auto isExpert = [&](const ParameterShape& one) { return expertParameterOf(one.name) || stackedModuleOf(run, one.name) != nullptr; };
    const auto experts = std::count_if(group.begin(), group.end(), isExpert);
    if (experts != 0 && static_cast<std::size_t>(experts) != group.size())
        return mixedGroup(index);
    return experts != 0;
}

FlatGroup plainGroup(const Run& run, std::size_t index)
{
    FlatGroup out{index, run.allRanks(), {}, fmt::format("group {}", index)};
    for (const ParameterShape& parameter : run.groups[index])
        out.parameters.push_back({parameter.name, parameter.shape, parameter.count, 0});
    return out;
}

} // namespace

ModelParameter modelParameter(const Run& run, const ParameterShape& stored, std::uint32_t expertRank)
{
    if (const ExpertModule* module = stackedModuleOf(run, stored.name); module != nullptr && !stored.shape.empty()) {
        Shape shape = stored.shape;
        shape[0] = std::uint64_t{module->localExperts} * module->size; // checked against num_experts
        return {stored.name, std::move(shape), stored.count, stored.count * expertRank};
    }
    const std::vector<std::string> names = globalNames(run, stored.name);
    return {names[std::min<std::size_t>(expertRank, names.size() - 1)], stored.shape, stored.count, 0};
}

Result<TensorId> tensorOfParameter(Run& run, const ModelParameter& parameter, RoleId role, DType dtype, Combine combine, bool moduleCopy)
{
    const auto make = [&] { return run.builder.addTensor({run.builder.parameter(parameter.name), role, dtype, combine, moduleCopy, parameter.shape}); };
    if (elementCount(parameter.shape) == parameter.count)
        return make();
    const auto known = run.stackedTensors.find({parameter.name, role});
    if (known == run.stackedTensors.end())
        return run.stackedTensors.emplace(std::pair{parameter.name, role}, make()).first->second;
    const Tensor& tensor = run.builder.tensor(known->second);
    if (tensor.dtype != dtype || tensor.shape != parameter.shape)
        return Error{ErrorCode::Corrupt, fmt::format("parts of {} are {} {} and {} {}", printable(parameter.name), nameOf(tensor.dtype), shapeText(tensor.shape), nameOf(dtype),
                                                     shapeText(parameter.shape))};
    return known->second;
}

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
    SHARDLENS_ASSIGN(const bool experts, holdsExperts(run, group));
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
                group.parameters.push_back(modelParameter(run, parameter, expertRank));
            out.push_back(std::move(group));
        }
    }
    return out;
}

} // namespace shardlens::deepspeed
