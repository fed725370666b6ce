#include "core/format/deepspeed/reshard_groups.h"

#include "core/base/checked.h"
#include "core/base/text.h"
#include "core/format/deepspeed/experts.h"
#include "core/format/deepspeed/moe_groups.h"
#include "core/format/deepspeed/universal_entries.h"
#include "core/format/deepspeed/zero12.h"

#include <fmt/format.h>

#include <algorithm>

namespace shardlens::deepspeed {
namespace {

constexpr std::uint64_t kDefaultSubGroupSize = 1'000'000'000;
constexpr std::uint64_t kAlignmentFactor = 2; // "nccl_start_alignment_factor"

// A group's dictionary of states, in a rank's file; what is there already stays.
void takeStates(pickle::Value states, const std::shared_ptr<const TorchFile>& file, TrainedGroup& out)
{
    out.hasState = out.hasState || states;
    const std::size_t before = out.states.size();
    for (std::size_t i = 0; i < states.size(); ++i) {
        const std::string name(states.keyAt(i).asText().value_or(""));
        const auto end = out.states.begin() + static_cast<std::ptrdiff_t>(before);
        if (std::none_of(out.states.begin(), end, [&](const TrainedState& known) { return known.name == name; }))
            out.states.push_back({name, states.valueAt(i), file});
    }
}

// A universal checkpoint keeps states by parameter: those of the group's first one stand for all.
void takeUniversalStates(const Run& run, TrainedGroup& out)
{
    const auto sample = out.parameters.empty() ? run.universalSamples.end() : run.universalSamples.find(out.parameters.front().name);
    if (sample == run.universalSamples.end())
        return;
    for (const auto& [state, file] : sample->second) {
        if (state == kUniversalMaster)
            continue;
        const pickle::Value value = file.root().isMapping() ? file.root().find("param") : file.root();
        out.states.push_back({state, value, file.torch});
    }
    out.hasState = !out.states.empty();
}

// `name`: in the whole model.
Result<TrainedParameter> trained(const ParameterShape& shape, const std::string& name, const TensorsByName& tensors)
{
    const auto found = tensors.find(name);
    if (found == tensors.end() || !found->second.master)
        return Error{ErrorCode::Refused, fmt::format("{} has no master in the optimizer files: there is nothing to train on from", printable(name))};
    return TrainedParameter{shape.name, shape.shape, shape.count, &found->second};
}

// Positions of a stored group in the optimizer's own order.
std::vector<std::size_t> ownOrder(const Run& run, std::size_t count, std::uint32_t world)
{
    std::vector<std::size_t> order(count);
    for (std::size_t i = 0; i < order.size(); ++i)
        order[i] = i;
    if (isRoundRobin(run, run.stage)) {
        const auto permuted = roundRobinOrder(count, world);
        for (std::size_t i = 0; i < permuted.size(); ++i)
            order[permuted[i]] = i;
    }
    return order;
}

// Fills in what the group trains, of every expert-parallel rank.
Status addParameters(const Run& run, std::size_t index, const TensorsByName& tensors, TrainedGroup& out)
{
    const ParameterGroup& stored = run.groups[index];
    SHARDLENS_ASSIGN(const auto size, expertSizeOf(run, index));
    for (std::uint32_t expertRank = 0; expertRank < size.value_or(1); ++expertRank) {
        std::vector<TrainedParameter> parameters;
        for (const std::size_t i : ownOrder(run, stored.size(), run.world / size.value_or(1))) {
            SHARDLENS_ASSIGN(auto parameter, trained(stored[i], size ? globalNames(run, stored[i].name).at(expertRank) : stored[i].name, tensors));
            parameters.push_back(std::move(parameter));
        }
        if (expertRank == 0)
            out.parameters = parameters;
        if (size)
            out.experts.push_back(std::move(parameters));
    }
    return {};
}

Result<TrainedGroup> flatGroup(const Run& run, std::size_t index, const TensorsByName& tensors)
{
    TrainedGroup out;
    SHARDLENS_TRY(addParameters(run, index, tensors, out));
    if (const auto first = run.firstOptimizer()) {
        const bool isUniversal = run.folder.isUniversal;
        if (isUniversal)
            takeUniversalStates(run, out);
        else
            takeStates(flatGroupState(run, *first, index), run.optimizers.at(*first).torch, out);
        const pickle::Value base = isUniversal ? run.optimizerState(*first) : run.optimizerState(*first).find("base_optimizer_state");
        out.paramGroup = base.find("param_groups").at(index);
        if (base.isMapping() && !out.paramGroup.isMapping())
            return Error{ErrorCode::Refused, fmt::format("the optimizer's param_groups have no row for group {}: there is nothing to train on from", index)};
    }
    return out;
}

pickle::Value stateOfNumber(pickle::Value states, std::uint64_t number)
{
    for (std::size_t i = 0; i < states.size(); ++i)
        if (countOf(states.keyAt(i)) == number)
            return states.valueAt(i);
    return {};
}

Status addSubGroup(const Run& run, const TensorsByName& tensors, std::uint64_t number, TrainedGroup& out)
{
    if (number >= run.groups.size())
        return Error{ErrorCode::Corrupt, fmt::format("param_groups names sub-group {}, and there are {}", number, run.groups.size())};
    for (const ParameterShape& shape : run.groups[number]) {
        SHARDLENS_ASSIGN(auto parameter, trained(shape, shape.name, tensors));
        out.parameters.push_back(std::move(parameter));
    }
    return {};
}

Result<std::vector<TrainedGroup>> groupsOfStage3(const Run& run, const TensorsByName& tensors)
{
    const auto first = run.firstOptimizer();
    const pickle::Value inner = first ? run.optimizerState(*first).find("optimizer_state_dict") : pickle::Value{};
    const pickle::Value rows = inner.find("param_groups");
    std::vector<TrainedGroup> out;
    std::vector<bool> taken(run.groups.size(), false);
    for (std::size_t g = 0; g < rows.size(); ++g) {
        TrainedGroup& group = out.emplace_back();
        group.paramGroup = rows.at(g);
        const pickle::Value members = rows.at(g).find("params");
        for (std::size_t i = 0; i < members.size(); ++i) {
            const std::uint64_t number = countOf(members.at(i)).value_or(run.groups.size());
            SHARDLENS_TRY(addSubGroup(run, tensors, number, group));
            if (taken[number])
                return Error{ErrorCode::Corrupt, fmt::format("param_groups names sub-group {} twice", number)};
            taken[number] = true;
            if (group.hasState)
                continue;
            if (run.folder.isUniversal)
                takeUniversalStates(run, group);
            takeStates(stateOfNumber(inner.find("state"), number), run.optimizers.at(*first).torch, group);
        }
    }
    if (std::find(taken.begin(), taken.end(), false) != taken.end())
        return Error{ErrorCode::Refused, "the optimizer's param_groups do not name every sub-group: there is nothing to train on from"};
    return out;
}

} // namespace

TensorsByName tensorsByName(const Checkpoint& checkpoint)
{
    TensorsByName out;
    for (std::size_t i = 0; i < checkpoint.tensors().size(); ++i) {
        const auto id = idAt<TensorId>(i);
        const Role& role = checkpoint.roleOf(id);
        ParameterTensors& into = out[checkpoint.parameterOf(id)];
        switch (role.kind) {
        case RoleKind::Weight: (checkpoint.tensor(id).moduleCopy ? into.module : into.master) = id; break;
        case RoleKind::Module:
        case RoleKind::Buffer: into.module = id; break;
        case RoleKind::OptimizerState: into.states.emplace(role.name, id); break;
        case RoleKind::Other: break;
        }
    }
    return out;
}

GroupShare shareOf(const Run& run, const TrainedGroup& group, std::uint32_t world, std::uint32_t rank)
{
    if (group.experts.empty())
        return {&group.parameters, world, rank};
    const ExpertRanks ranks(world, static_cast<std::uint32_t>(group.experts.size()), run.expertRanks && run.expertRanks->dataFirst());
    return {&group.experts[ranks.expertRank(rank)], ranks.replicas(), ranks.replica(rank)};
}

bool isRoundRobin(const Run& run, Stage stage)
{
    return stage == Stage::Zero2 && configOf(run, {"zero_optimization", "round_robin_gradients"}).asBool().value_or(false);
}

std::vector<std::size_t> roundRobinOrder(std::size_t count, std::uint32_t world)
{
    std::vector<std::size_t> out;
    for (std::size_t j = 0; j < world; ++j)
        for (std::size_t i = j; i < count; i += world)
            out.push_back(i);
    return out;
}

Result<std::vector<TrainedGroup>> trainedGroups(const Run& run, const TensorsByName& tensors)
{
    if (run.stage == Stage::Zero3)
        return groupsOfStage3(run, tensors);
    std::vector<TrainedGroup> out;
    for (std::size_t index = 0; index < run.groups.size(); ++index) {
        SHARDLENS_ASSIGN(auto group, flatGroup(run, index, tensors));
        out.push_back(std::move(group));
    }
    return out;
}

std::uint64_t FlatCut::used(std::uint32_t rank) const
{
    const std::uint64_t begin = partition * rank;
    return begin >= total ? 0 : std::min(partition, total - begin);
}

FlatCut cutFlat(const std::vector<TrainedParameter>& parameters, std::uint32_t world, std::uint64_t alignTo)
{
    FlatCut out;
    out.world = world;
    for (std::size_t i = 0; i < parameters.size(); ++i) {
        const std::uint64_t count = parameters[i].count; // below 2^60, and there are fewer of them than bytes in a file
        const bool isLast = i + 1 == parameters.size();
        out.begins.push_back(out.total);
        out.paddings.push_back(isLast ? 0 : ceilDiv(count, alignTo) * alignTo - count);
        out.total += count + out.paddings.back();
    }
    const std::uint64_t alignment = kAlignmentFactor * world;
    out.partition = ceilDiv(out.total, alignment) * kAlignmentFactor;
    return out;
}

std::uint64_t subGroupSizeOf(const Run& run)
{
    return countOf(configOf(run, {"zero_optimization", "sub_group_size"})).value_or(kDefaultSubGroupSize);
}

std::vector<SubGroup> cutIntoSubGroups(const std::vector<TrainedGroup>& groups, std::uint32_t world, std::uint64_t subGroupSize)
{
    std::vector<SubGroup> out;
    for (std::size_t g = 0; g < groups.size(); ++g) {
        const auto& parameters = groups[g].parameters;
        std::uint64_t all = 0;
        for (const TrainedParameter& parameter : parameters)
            all += ceilDiv(parameter.count, world);
        SubGroup open{g, 0, 0, 0};
        for (std::size_t i = 0; i < parameters.size(); ++i) {
            open.length += ceilDiv(parameters[i].count, world);
            open.last = i + 1;
            const bool full = open.length >= subGroupSize && subGroupSize < all;
            if (!full && open.last != parameters.size())
                continue;
            out.push_back(open);
            open = {g, i + 1, i + 1, 0};
        }
    }
    return out;
}

} // namespace shardlens::deepspeed
