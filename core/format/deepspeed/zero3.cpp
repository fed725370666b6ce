#include "core/format/deepspeed/zero3.h"

#include "core/base/checked.h"
#include "core/base/text.h"
#include "core/format/deepspeed/optimizer_states.h"
#include "core/format/deepspeed/parameter_shapes.h"
#include "core/format/deepspeed/stacked_experts.h"

#include <fmt/format.h>

#include <algorithm>
#include <unordered_map>

namespace shardlens::deepspeed {
namespace {

using Pieces = std::map<std::uint32_t, TorchPieces>;

// The slots of a sub-group: where each parameter begins in every rank's vector, and how long the vector is.
struct SlotLayout {
    std::vector<std::uint64_t> begins;
    std::vector<std::uint64_t> slots; // p = ceil(N / W)
    std::uint64_t length = 0;
};

SlotLayout layoutOf(const ParameterGroup& group, std::uint32_t world)
{
    SlotLayout out;
    for (const ParameterShape& parameter : group) {
        out.begins.push_back(out.length);
        out.slots.push_back(ceilDiv(parameter.count, world));
        out.length += out.slots.back(); // counts are below 2^60 and their number is bounded by the pickle
    }
    return out;
}

// Adds the slots of one parameter on all ranks; what a slot holds beyond the parameter is padding.
Status addSlots(Run& run, TensorId tensor, const FlatVector& vector, std::uint64_t begin, std::uint64_t slot, const ModelParameter& parameter)
{
    const std::uint64_t count = parameter.count;
    const std::uint64_t cell = info(vector.dtype()).bytesPerBlock;
    for (const FlatVector::Part& part : vector.parts()) {
        const std::uint64_t first = std::min(count, slot * part.position);
        const std::uint64_t last = std::min(count, slot * part.position + slot);
        CheckpointBuilder::Placement placement = part.placement;
        placement.offset += begin * cell;
        if (first < last)
            SHARDLENS_TRY(run.builder.addPiece(tensor, FlatRange{parameter.firstValue + first, parameter.firstValue + last}, placement));
        run.builder.addPadding(placement.stream, placement.offset + (last - first) * cell, (slot - (last - first)) * cell);
    }
    return {};
}

// Every rank's vector must have exactly the slots of its parameters.
Status checkLengths(const Run& run, std::size_t index, const FlatVector& vector, std::uint64_t expected)
{
    for (const FlatVector::Part& part : vector.parts()) {
        if (part.length == expected || !run.optimizers.at(part.rank).torch)
            continue;
        if (part.length == 0)
            return Error{ErrorCode::Unsupported, fmt::format("sub-group {} of rank {} is empty: its {} elements were offloaded to NVMe, and are not in the rank files", index,
                                                             part.rank, groupedText(expected))};
        return Error{ErrorCode::Corrupt, fmt::format("sub-group {} of rank {} holds {} elements, and its {} on {} need {}; is this a MiCS run or a mixture of two saves?",
                                                     index, part.rank, groupedText(part.length), plural(run.groups[index].size(), "parameter", "parameters"),
                                                     plural(run.world, "rank", "ranks"), groupedText(expected))};
    }
    return {};
}

// state of a rank by sub-group number, looked up once: there can be thousands.
class StateTable {
public:
    explicit StateTable(const Run& run)
    {
        for (const auto& [rank, file] : run.optimizers) {
            const pickle::Value states = run.optimizerState(rank).find("optimizer_state_dict").find("state");
            for (std::size_t i = 0; i < states.size(); ++i)
                if (const auto number = countOf(states.keyAt(i)))
                    m_states[rank].emplace(*number, states.valueAt(i));
        }
    }

    [[nodiscard]] pickle::Value at(std::uint32_t rank, std::size_t subGroup) const
    {
        const auto ofRank = m_states.find(rank);
        if (ofRank == m_states.end())
            return {};
        const auto found = ofRank->second.find(subGroup);
        return found == ofRank->second.end() ? pickle::Value{} : found->second;
    }

private:
    std::map<std::uint32_t, std::unordered_map<std::uint64_t, pickle::Value>> m_states;
};

// `step` of the optimizer group that a sub-group belongs to, where it lies in param_groups.
pickle::Value stepOfSubGroup(const Run& run, std::uint32_t rank, std::size_t subGroup)
{
    const pickle::Value groups = run.optimizerState(rank).find("optimizer_state_dict").find("param_groups");
    for (std::size_t g = 0; g < groups.size(); ++g) {
        const pickle::Value members = groups.at(g).find("params");
        for (std::size_t i = 0; i < members.size(); ++i)
            if (countOf(members.at(i)) == subGroup)
                return groups.at(g).find("step");
    }
    return {};
}

// The ranks that share a sub-group, by expert-parallel rank: all of them, or with AutoEP those that hold the same experts (formats/deepspeed.md §10.4).
Result<std::vector<std::vector<std::uint32_t>>> ranksOfSubGroup(const Run& run, std::size_t index)
{
    const auto first = run.firstOptimizer();
    const auto rowOf = [&](std::uint32_t rank) { return run.optimizerState(rank).find("ds_zero_partition_groups").at(index); };
    const std::uint64_t parts = first ? countOf(rowOf(*first).find("partition_count")).value_or(0) : 0; // 0: not said
    const bool stacks = std::any_of(run.groups[index].begin(), run.groups[index].end(), [&](const ParameterShape& one) { return stackedModuleOf(run, one.name) != nullptr; });
    if (stacks && first && parts == 0)
        return Error{ErrorCode::Corrupt, fmt::format("sub-group {} holds experts, and ds_zero_partition_groups does not say how it is cut", index)};
    if (parts == 0 || parts == run.world || !run.expertRanks)
        return std::vector<std::vector<std::uint32_t>>{run.allRanks()};
    if (parts != run.expertRanks->replicas())
        return Error{ErrorCode::Corrupt, fmt::format("sub-group {} is cut over {} parts, and its experts are shared by {}", index, parts,
                                                     plural(run.expertRanks->replicas(), "rank", "ranks"))};
    for (const auto& [rank, file] : run.optimizers)
        if (const auto place = countOf(rowOf(rank).find("partition_rank")); place && *place != run.expertRanks->replica(rank))
            return Error{ErrorCode::Corrupt, fmt::format("rank {} holds part {} of sub-group {}, and the configuration says part {}", rank, *place, index, run.expertRanks->replica(rank))};
    std::vector<std::vector<std::uint32_t>> out;
    for (std::uint32_t expertRank = 0; expertRank < run.expertRanks->size(); ++expertRank)
        out.push_back(run.expertRanks->ranksOf(expertRank));
    return out;
}

// A sub-group as the ranks that share it cut it.
struct SubGroupShare {
    std::size_t index = 0;
    std::uint32_t expertRank = 0;
    std::vector<std::uint32_t> ranks;
};

Status addSubGroup(Run& run, Pieces& pieces, const StateTable& states, const SubGroupShare& share)
{
    const std::size_t index = share.index;
    const std::vector<std::uint32_t>& ranks = share.ranks;
    const ParameterGroup& group = run.groups[index];
    const SlotLayout layout = layoutOf(group, static_cast<std::uint32_t>(ranks.size()));
    SHARDLENS_ASSIGN(const FlatVector masters,
                     FlatVector::gather(
                         run, pieces, ranks, [&](std::uint32_t rank) { return run.optimizerState(rank).find("fp32_flat_groups").at(index); }, {layout.length}));
    SHARDLENS_TRY(checkLengths(run, index, masters, layout.length));
    SHARDLENS_ASSIGN(const auto vectors, statesOfGroup(
                                             run, pieces, ranks, [&](std::uint32_t rank) { return states.at(rank, index); },
                                             [&](std::uint32_t rank) { return stepOfSubGroup(run, rank, index); }, {layout.length, layout.length}));
    const RoleId role = run.builder.role(RoleKind::Weight, masters.dtype() == DType::F32 ? "fp32 master" : "master");
    for (std::size_t i = 0; i < group.size(); ++i) {
        const ModelParameter parameter = modelParameter(run, group[i], share.expertRank);
        SHARDLENS_ASSIGN(const TensorId id, tensorOfParameter(run, parameter, role, masters.dtype(), Combine::Exclusive, false));
        SHARDLENS_TRY(addSlots(run, id, masters, layout.begins[i], layout.slots[i], parameter));
        for (const GroupState& state : vectors) {
            if (state.isScalar) {
                if (parameter.isFirst())
                    SHARDLENS_TRY(addScalarState(run, parameter.name, state));
                continue;
            }
            SHARDLENS_ASSIGN(const TensorId stateId, stateTensor(run, parameter, state));
            SHARDLENS_TRY(addSlots(run, stateId, state.vector, layout.begins[i], layout.slots[i], parameter));
        }
    }
    return {};
}

// frozen_param_fragments of every rank by name, looked up once: a frozen model has thousands.
class FragmentTable {
public:
    explicit FragmentTable(const Run& run)
    {
        for (const auto& [rank, file] : run.stage3Models) {
            const pickle::Value fragments = file.root().find("frozen_param_fragments");
            auto& ofRank = m_fragments[rank];
            for (std::size_t i = 0; i < fragments.size(); ++i)
                if (const auto name = fragments.keyAt(i).asText())
                    ofRank.emplace(std::string(*name), fragments.valueAt(i));
        }
    }

    [[nodiscard]] pickle::Value at(std::uint32_t rank, const std::string& name) const
    {
        const auto ofRank = m_fragments.find(rank);
        if (ofRank == m_fragments.end())
            return {};
        const auto found = ofRank->second.find(name);
        return found == ofRank->second.end() ? pickle::Value{} : found->second;
    }

private:
    std::map<std::uint32_t, std::unordered_map<std::string, pickle::Value>> m_fragments;
};

// The fragment of a frozen parameter on one rank; false where the file is missing.
Status addFragment(Run& run, const FragmentTable& fragments, TensorId tensor, const ParameterShape& parameter, std::uint32_t rank)
{
    RankFile& file = run.stage3Models.at(rank);
    const std::uint64_t slot = ceilDiv(parameter.count, run.world);
    const std::uint64_t first = std::min(parameter.count, slot * rank);
    const std::uint64_t last = std::min(parameter.count, slot * rank + slot);
    if (!file.torch)
        return first == last ? Status{} : run.builder.addPiece(tensor, FlatRange{first, last}, {run.builder.streamOf(file.id), 0, run.rank(rank), {}});
    const pickle::Value value = fragments.at(rank, parameter.name);
    if (!TorchFile::isTensor(value))
        return Error{ErrorCode::Corrupt, fmt::format("rank {} has no fragment of it", rank)};
    SHARDLENS_ASSIGN(const TorchTensor fragment, file.torch->tensorOf(value));
    const std::uint64_t have = elementCount(fragment.shape).value_or(0);
    if (fragment.dtype != run.builder.tensor(tensor).dtype || have != slot || !fragment.contiguous)
        return Error{ErrorCode::Corrupt, fmt::format("the fragment of rank {} is {} {}, and {} elements of {} are needed; is this a mixture of two saves?", rank,
                                                     nameOf(fragment.dtype), shapeText(fragment.shape), groupedText(slot), nameOf(run.builder.tensor(tensor).dtype))};
    TorchPieces pieces(run.builder, file.id, *file.torch);
    const CheckpointBuilder::Placement placement = pieces.placementOf(fragment, run.rank(rank));
    const std::uint64_t cell = info(fragment.dtype).bytesPerBlock;
    run.builder.addPadding(placement.stream, placement.offset + (last - first) * cell, (slot - (last - first)) * cell);
    return first == last ? Status{} : run.builder.addPiece(tensor, FlatRange{first, last}, placement);
}

// The dtype of a frozen parameter: that of the first rank's fragment.
std::optional<DType> frozenDType(const Run& run, const FragmentTable& fragments, const std::string& name)
{
    for (const auto& [rank, file] : run.stage3Models) {
        const pickle::Value value = fragments.at(rank, name);
        if (TorchFile::isTensor(value))
            if (const auto tensor = file.torch->tensorOf(value))
                return tensor->dtype;
    }
    return std::nullopt;
}

} // namespace

Status addSubGroups(Run& run)
{
    Pieces pieces = piecesOfOptimizers(run);
    const StateTable states(run);
    if (const auto first = run.firstOptimizer()) {
        const std::size_t count = run.optimizerState(*first).find("fp32_flat_groups").size();
        if (count != run.groups.size())
            return Error{ErrorCode::Corrupt, fmt::format("{} in the optimizer files, and param_shapes lists {}", plural(count, "sub-group", "sub-groups"), run.groups.size())};
    }
    for (std::size_t index = 0; index < run.groups.size(); ++index) {
        SHARDLENS_ASSIGN(const auto sharing, ranksOfSubGroup(run, index));
        for (std::uint32_t expertRank = 0; expertRank < sharing.size(); ++expertRank)
            SHARDLENS_TRY(addSubGroup(run, pieces, states, {index, expertRank, sharing[expertRank]}));
    }
    return {};
}

Status addFrozenFragments(Run& run)
{
    const pickle::Value shapes = run.model.root().find("frozen_param_shapes");
    if (shapes.isNone())
        return {};
    SHARDLENS_ASSIGN(const ParameterGroup frozen, groupOf(shapes));
    const RoleId role = run.builder.role(RoleKind::Weight, "frozen parameter");
    const FragmentTable fragments(run);
    for (const ParameterShape& parameter : frozen) {
        const auto dtype = frozenDType(run, fragments, parameter.name);
        if (!dtype)
            continue; // no file has a fragment: said as a missing file
        if (*dtype == DType::I8)
            run.find(Severity::Error, "quantized-frozen",
                     fmt::format("{} is stored as int8 fragments without their scales (zero_quantized_nontrainable_weights): its values are lost.", printable(parameter.name)));
        const TensorId id = run.builder.addTensor({run.builder.parameter(parameter.name), role, *dtype, Combine::Exclusive, true, parameter.shape});
        for (auto& [rank, file] : run.stage3Models)
            if (Status added = addFragment(run, fragments, id, parameter, rank); !added)
                return added.takeError().within(printable(parameter.name)).within(printable(run.builder.file(file.id).name));
    }
    return {};
}

} // namespace shardlens::deepspeed
