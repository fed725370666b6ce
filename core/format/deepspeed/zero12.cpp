#include "core/format/deepspeed/zero12.h"

#include "core/base/checked.h"
#include "core/base/text.h"
#include "core/format/deepspeed/moe_groups.h"
#include "core/format/deepspeed/optimizer_states.h"
#include "core/format/deepspeed/parameter_shapes.h"

#include <fmt/format.h>

namespace shardlens::deepspeed {
namespace {

using Pieces = std::map<std::uint32_t, TorchPieces>;

// Where each parameter of a group begins, and where the last ends.
struct GroupLayout {
    std::vector<std::uint64_t> begins;
    std::vector<std::uint64_t> gaps;
    std::uint64_t total = 0;
};

Result<GroupLayout> layoutOf(const Run& run, std::size_t group)
{
    GroupLayout out{{}, alignmentPaddings(run, group), 0};
    for (std::size_t i = 0; i < run.groups[group].size(); ++i) {
        out.begins.push_back(out.total);
        const auto next = checkedAdd(out.total, run.groups[group][i].count + out.gaps[i]);
        if (!next)
            return Error{ErrorCode::Corrupt, fmt::format("param_shapes: group {} has more than 2^64 elements", group)};
        out.total = *next;
    }
    return out;
}

// The list of masters under the names it has had.
pickle::Value mastersOf(const Run& run, std::uint32_t rank)
{
    return run.optimizerState(rank).find("single_partition_of_fp32_groups");
}

pickle::Value stepOf(const Run& run, std::uint32_t rank, std::size_t group)
{
    const pickle::Value state = run.optimizerState(rank);
    if (const pickle::Value step = state.find("base_optimizer_state_step"))
        return step;
    return state.find("base_optimizer_state").find("param_groups").at(group).find("step");
}

Status checkLength(const FlatGroup& group, std::uint64_t have, std::uint64_t need)
{
    const std::uint64_t alignment = 2ull * group.ranks.size();
    const std::uint64_t most = ceilDiv(need, alignment) * alignment;
    if (have >= need && have <= most)
        return {};
    return Error{ErrorCode::Corrupt, fmt::format("{}: the {} hold {} elements, and its {} need {} (at most {} with padding); files of two saves may be mixed here", group.title,
                                                 plural(group.ranks.size(), "rank", "ranks"), groupedText(have), plural(group.parameters.size(), "parameter", "parameters"),
                                                 groupedText(need), groupedText(most))};
}

Status addMasters(Run& run, const FlatGroup& group, const GroupLayout& layout, const FlatVector& masters)
{
    const RoleId role = run.builder.role(RoleKind::Weight, masters.dtype() == DType::F32 ? "fp32 master" : "master");
    for (std::size_t i = 0; i < group.parameters.size(); ++i) {
        const ModelParameter& parameter = group.parameters[i];
        SHARDLENS_ASSIGN(const TensorId id, tensorOfParameter(run, parameter, role, masters.dtype(), Combine::Exclusive, false));
        SHARDLENS_TRY(masters.addPieces(run.builder, id, layout.begins[i], parameter.count, parameter.firstValue));
    }
    return {};
}

Status addStates(Run& run, const FlatGroup& group, const GroupLayout& layout, const std::vector<GroupState>& states)
{
    for (std::size_t i = 0; i < group.parameters.size(); ++i)
        for (const GroupState& state : states) {
            const ModelParameter& parameter = group.parameters[i];
            if (state.isScalar) {
                if (parameter.isFirst())
                    SHARDLENS_TRY(addScalarState(run, parameter.name, state));
                continue;
            }
            SHARDLENS_ASSIGN(const TensorId id, stateTensor(run, parameter, state));
            SHARDLENS_TRY(state.vector.addPieces(run.builder, id, layout.begins[i], parameter.count, parameter.firstValue));
        }
    return {};
}

void markPaddings(Run& run, const ParameterGroup& group, const GroupLayout& layout, const FlatVector& vector)
{
    for (std::size_t i = 0; i < group.size(); ++i)
        if (layout.gaps[i] > 0)
            vector.markPadding(run.builder, layout.begins[i] + group[i].count, layout.gaps[i]);
    if (vector.length() > layout.total)
        vector.markPadding(run.builder, layout.total, vector.length() - layout.total);
}

// param_slice_mappings disagree with the true layout exactly where round_robin_gradients permuted it (formats/deepspeed.md §6.5).
bool mappingsAgree(const Run& run, std::size_t groupIndex, const GroupLayout& layout, const FlatVector& masters)
{
    const ParameterGroup& group = run.groups[groupIndex];
    std::map<std::string_view, std::size_t> places;
    for (std::size_t i = 0; i < group.size(); ++i)
        places.emplace(group[i].name, i);
    for (const FlatVector::Part& part : masters.parts()) {
        const pickle::Value mapping = run.optimizerState(part.rank).find("param_slice_mappings").at(groupIndex);
        for (std::size_t i = 0; i < mapping.size(); ++i) {
            const auto place = places.find(mapping.keyAt(i).asText().value_or(""));
            const auto start = countOf(mapping.valueAt(i).attribute("start"));
            const auto count = countOf(mapping.valueAt(i).attribute("numel"));
            if (place == places.end() || !start || !count || *count == 0)
                continue;
            const std::uint64_t begin = layout.begins[place->second];
            const std::uint64_t partition = masters.longestPart() * part.position;
            const std::uint64_t expected = begin > partition ? begin - partition : 0;
            if (expected != *start)
                return false;
        }
    }
    return true;
}

void addGroupFact(Run& run, const FlatGroup& group, const GroupLayout& layout, const FlatVector& masters)
{
    const std::string rest = masters.anyMissing() ? fmt::format("up to {} are missing", groupedText(masters.missingLength()))
                                                  : fmt::format("padding {}", groupedText(masters.length() > layout.total ? masters.length() - layout.total : 0));
    run.builder.addFact(group.title, fmt::format("need {} elements, have {} on {}, {}", groupedText(layout.total), groupedText(masters.length() - masters.missingLength()),
                                                 plural(group.ranks.size(), "rank", "ranks"), rest));
}

Status addGroup(Run& run, Pieces& pieces, const FlatGroup& group, bool& agree)
{
    const std::size_t index = group.index;
    SHARDLENS_ASSIGN(const GroupLayout layout, layoutOf(run, index));
    const std::uint64_t paddedPart = ceilDiv(layout.total, 2ull * group.ranks.size()) * 2;
    SHARDLENS_ASSIGN(const FlatVector masters,
                     FlatVector::gather(run, pieces, group.ranks, [&](std::uint32_t rank) { return mastersOf(run, rank).at(index); }, {paddedPart}));
    if (!masters.anyMissing())
        SHARDLENS_TRY(checkLength(group, masters.length(), layout.total));
    SHARDLENS_TRY(addMasters(run, group, layout, masters));
    agree = agree && mappingsAgree(run, index, layout, masters);
    SHARDLENS_ASSIGN(const auto states, statesOfGroup(
                                            run, pieces, group.ranks, [&](std::uint32_t rank) { return flatGroupState(run, rank, index); },
                                            [&](std::uint32_t rank) { return stepOf(run, rank, index); },
                                            {layout.total, std::max(paddedPart, masters.longestPart())}));
    SHARDLENS_TRY(addStates(run, group, layout, states));
    markPaddings(run, run.groups[index], layout, masters);
    for (const GroupState& state : states)
        if (!state.isScalar)
            markPaddings(run, run.groups[index], layout, state.vector);
    addGroupFact(run, group, layout, masters);
    return {};
}

// Elements of each flat group on all ranks together.
Result<std::vector<std::uint64_t>> lengthsOfGroups(Run& run, Pieces& pieces, std::size_t count)
{
    std::vector<std::uint64_t> out;
    for (std::size_t group = 0; group < count; ++group) {
        SHARDLENS_ASSIGN(const auto vector, FlatVector::gather(run, pieces, run.allRanks(), [&](std::uint32_t rank) { return mastersOf(run, rank).at(group); }, {}));
        out.push_back(vector.length());
    }
    return out;
}

} // namespace

pickle::Value flatGroupState(const Run& run, std::uint32_t rank, std::size_t group)
{
    const pickle::Value base = run.optimizerState(rank).find("base_optimizer_state");
    if (base.isMapping()) { // rigid: the torch optimizer's own state_dict
        const pickle::Value states = base.find("state");
        for (std::size_t i = 0; i < states.size(); ++i)
            if (countOf(states.keyAt(i)) == group)
                return states.valueAt(i);
        return {};
    }
    return base.at(group); // elastic: a list, one dictionary a group
}

std::vector<std::uint64_t> alignmentPaddings(const Run& run, std::size_t group)
{
    std::vector<std::uint64_t> gaps(run.groups[group].size(), 0);
    const auto first = run.firstOptimizer();
    if (!first)
        return gaps;
    const pickle::Value paddings = run.optimizerState(*first).find("param_alignment_paddings").at(group);
    for (std::size_t i = 0; i < gaps.size() && i < paddings.size(); ++i)
        gaps[i] = std::min<std::uint64_t>(countOf(paddings.at(i)).value_or(0), 1u << 20);
    return gaps;
}

Status addFlatGroups(Run& run)
{
    Pieces pieces = piecesOfOptimizers(run);
    const auto first = run.firstOptimizer();
    if (first) {
        const std::size_t count = mastersOf(run, *first).size();
        if (run.groups.size() == 1 && count > 1) {
            SHARDLENS_ASSIGN(const auto lengths, lengthsOfGroups(run, pieces, count));
            SHARDLENS_TRY(cutIntoGroups(run, lengths));
        }
        if (count != run.groups.size())
            return Error{ErrorCode::Corrupt, fmt::format("{} in the optimizer files, and param_shapes lists {}", plural(count, "group", "groups"), run.groups.size())};
    }
    bool agree = true;
    SHARDLENS_ASSIGN(const auto flatGroups, flatGroupsOf(run));
    for (const FlatGroup& group : flatGroups)
        SHARDLENS_TRY(addGroup(run, pieces, group, agree));
    if (!agree)
        run.find(Severity::Info, "round-robin",
                 "param_slice_mappings disagree with the layout of the flat buffers: this run used round_robin_gradients. "
                 "The pieces shown follow param_shapes, which is right; tools that trust the mappings (ds_to_universal) read wrong values here.");
    return {};
}

} // namespace shardlens::deepspeed
