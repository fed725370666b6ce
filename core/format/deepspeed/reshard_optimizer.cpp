#include "core/format/deepspeed/reshard.h"

#include "core/base/checked.h"
#include "core/base/text.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>

namespace shardlens::deepspeed {
namespace {

using pickle::Kind;
using pickle::Value;

constexpr std::uint64_t kAlignedBytes = 16; // parameter_alignment (formats/deepspeed.md §6.1)

// Members of optimizer_state_dict that are made anew, in any stage (§5.2 to §5.4); others are taken over.
constexpr std::array<std::string_view, 16> kMade{"loss_scaler",    "dynamic_loss_scale", "overflow",   "clip_grad",     "base_optimizer_state", "base_optimizer_state_step",
                                                 "zero_stage",     "group_paddings",     "groups_padding", "ds_version", "partition_count",      "param_alignment_paddings",
                                                 "param_slice_mappings", "single_partition_of_fp32_groups", "optimizer_state_dict", "fp32_flat_groups"};

// The part of a parameter that lies in a rank's vector: `values` from `firstValue` on, at `at` elements of the vector.
struct Slice {
    std::size_t parameter;
    std::uint64_t firstValue;
    std::uint64_t values;
    std::uint64_t at;
};

std::vector<Slice> slicesOf(const std::vector<TrainedParameter>& parameters, const std::vector<std::uint64_t>& begins, std::uint64_t from, std::uint64_t to)
{
    std::vector<Slice> out;
    for (std::size_t i = 0; i < parameters.size(); ++i) {
        const std::uint64_t begin = std::max(begins[i], from);
        const std::uint64_t end = std::min(begins[i] + parameters[i].count, to);
        if (begin < end)
            out.push_back({i, begin - begins[i], end - begin, begin - from});
    }
    return out;
}

// One rank's file, put together value by value.
class OptimizerFile {
public:
    OptimizerFile(const Reshard& reshard, std::uint32_t rank, const std::string& name)
        : m_reshard(reshard), m_run(*reshard.run), m_rank(rank), m_source(m_run.optimizers.at(*m_run.firstOptimizer()).torch), m_maker(reshard, name)
    {
        m_old = m_run.optimizerState(*m_run.firstOptimizer());
    }

    Result<TargetTorchFile> make(std::set<std::string>& leftOut);

private:
    Result<TargetTorchFile> makeFromUniversal(Value root, std::set<std::string>& leftOut);
    Result<Value> stateDict();
    Status addScaler(Value into);
    Status addFlat(Value into);
    Status addStage3(Value into);
    Result<Value> rigidStates(const std::vector<Value>& states, const std::vector<Value>& rows);
    Result<Value> elasticStates(const std::vector<Value>& states);
    Result<Value> stateOf(const TrainedGroup& group, const std::vector<Slice>& slices, std::uint64_t length, std::size_t first, std::size_t last);
    Result<Value> vectorOf(const TrainedGroup& group, const std::vector<Slice>& slices, std::uint64_t length, const std::string& state, bool requiresGrad);
    Result<Value> paramGroup(const TrainedGroup& group, const std::vector<std::size_t>& members);
    Value mappings(const TrainedGroup& group, const std::vector<Slice>& slices);
    [[nodiscard]] Value numbers(const std::vector<std::uint64_t>& values);
    [[nodiscard]] std::uint64_t alignmentOf(const TrainedGroup& group) const;
    Status take(Value into, std::string_view key);

    pickle::GraphBuilder& graph() { return m_maker.graph(); }
    Result<Value> imported(Value value) { return m_maker.tree().import(m_source, value); }
    [[nodiscard]] Value number(std::uint64_t value) { return graph().integer(static_cast<std::int64_t>(value)); }

    const Reshard& m_reshard;
    const Run& m_run;
    std::uint32_t m_rank;
    std::shared_ptr<const TorchFile> m_source; // of the first rank: what is not cut is taken from it
    Value m_old;
    FileMaker m_maker;
};

Value OptimizerFile::numbers(const std::vector<std::uint64_t>& values)
{
    const Value list = graph().list();
    for (const std::uint64_t value : values)
        graph().append(list, number(value));
    return list;
}

// Takes a member of the old dictionary over, where it is there.
Status OptimizerFile::take(Value into, std::string_view key)
{
    const Value old = m_old.find(key);
    if (!old)
        return {};
    SHARDLENS_ASSIGN(const Value value, imported(old));
    graph().set(into, key, value);
    return {};
}

// Elements that parameters are aligned to: those of 16 bytes of the model's dtype where the run aligns, else 1.
std::uint64_t OptimizerFile::alignmentOf(const TrainedGroup& group) const
{
    if (!m_old.find("param_alignment_paddings") || !configOf(m_run, {"zero_optimization", "parameter_alignment"}).asBool().value_or(false))
        return 1;
    for (const TrainedParameter& parameter : group.parameters)
        if (parameter.tensors->module)
            return kAlignedBytes / info(m_reshard.payload->tensor(*parameter.tensors->module).dtype).bytesPerBlock;
    return 1;
}

// `state` empty: the masters.
Result<Value> OptimizerFile::vectorOf(const TrainedGroup& group, const std::vector<Slice>& slices, std::uint64_t length, const std::string& state, bool requiresGrad)
{
    const auto tensorFor = [&](std::size_t i) { return state.empty() ? *group.parameters[i].tensors->master : group.parameters[i].tensors->states.at(state); };
    DType dtype = DType::F32;
    if (!group.parameters.empty())
        dtype = m_reshard.payload->tensor(tensorFor(0)).dtype;
    const std::uint64_t cell = info(dtype).bytesPerBlock;
    std::vector<TargetRun> runs;
    for (const Slice& slice : slices)
        runs.push_back({tensorFor(slice.parameter), dtype, slice.firstValue, slice.values, slice.at * cell});
    return m_maker.tensor(dtype, {length}, std::move(runs), requiresGrad);
}

// The state of a group or of parameters [first, last) of it: vectors are cut anew, the rest is as the first rank has it.
Result<Value> OptimizerFile::stateOf(const TrainedGroup& group, const std::vector<Slice>& slices, std::uint64_t length, std::size_t first, std::size_t last)
{
    const Value out = graph().dict();
    for (const TrainedState& state : group.states) {
        std::optional<TorchTensor> tensor;
        if (TorchFile::isTensor(state.value)) {
            SHARDLENS_ASSIGN(tensor, state.file->tensorOf(state.value));
        }
        if (tensor && !tensor->shape.empty() && first < last) {
            for (std::size_t p = first; p < last; ++p)
                if (!group.parameters[p].tensors->states.contains(state.name))
                    return Error{ErrorCode::Refused, fmt::format("the optimizer state {} of {} is no vector that can be cut: it belongs to ranks, not to parameters",
                                                                 printable(state.name), printable(group.parameters[p].name))};
            SHARDLENS_ASSIGN(const Value vector, vectorOf(group, slices, length, state.name, false));
            graph().set(out, state.name, vector);
            continue;
        }
        const bool isOwn = tensor && tensor->contiguous && !tensor->noData && tensor->flags.plain();
        SHARDLENS_ASSIGN(const Value taken, isOwn ? m_maker.copyOf(*state.file, *tensor) : m_maker.tree().import(state.file, state.value));
        graph().set(out, state.name, taken);
    }
    return out;
}

Result<Value> OptimizerFile::paramGroup(const TrainedGroup& group, const std::vector<std::size_t>& members)
{
    const Value out = graph().dict();
    for (std::size_t i = 0; i < group.paramGroup.size(); ++i) {
        SHARDLENS_ASSIGN(const Value key, imported(group.paramGroup.keyAt(i)));
        if (group.paramGroup.keyAt(i).asText() == "params") {
            const Value list = graph().list();
            for (const std::size_t member : members)
                graph().append(list, number(member));
            graph().set(out, key, list);
            continue;
        }
        SHARDLENS_ASSIGN(const Value value, imported(group.paramGroup.valueAt(i)));
        graph().set(out, key, value);
    }
    return out;
}

// A torch optimizer's state_dict; members beside state and param_groups are taken over.
Result<Value> OptimizerFile::rigidStates(const std::vector<Value>& states, const std::vector<Value>& rows)
{
    const Value old = m_run.stage == Stage::Zero3 ? m_old.find("optimizer_state_dict") : m_old.find("base_optimizer_state");
    const Value out = graph().dict();
    const Value all = graph().dict();
    for (std::size_t i = 0; i < states.size(); ++i)
        if (!states[i].isNone())
            graph().set(all, number(i), states[i]);
    const Value list = graph().list();
    for (const Value row : rows)
        graph().append(list, row);
    graph().set(out, "state", all);
    graph().set(out, "param_groups", list);
    for (std::size_t i = 0; old.isMapping() && i < old.size(); ++i) {
        const auto key = old.keyAt(i).asText();
        if (!key || *key == "state" || *key == "param_groups")
            continue;
        SHARDLENS_ASSIGN(const Value value, imported(old.valueAt(i)));
        graph().set(out, *key, value);
    }
    return out;
}

Result<Value> OptimizerFile::elasticStates(const std::vector<Value>& states)
{
    const Value list = graph().list();
    for (const Value state : states)
        graph().append(list, state.isNone() ? graph().dict() : state);
    return list;
}

Value OptimizerFile::mappings(const TrainedGroup& group, const std::vector<Slice>& slices)
{
    // 0.7.0 to 0.7.2 kept the class elsewhere; whatever the source names is known where it goes.
    Value address = graph().global("deepspeed.utils.tensor_fragment", "fragment_address");
    const Value old = m_old.find("param_slice_mappings").at(0).valueAt(0).callable();
    if (old.globalName() == "fragment_address")
        address = graph().global(old.globalModule(), old.globalName());
    const Value out = graph().orderedDict();
    for (const Slice& slice : slices) {
        const Value made = graph().newObject(address, graph().tuple({}));
        const Value state = graph().dict();
        graph().set(state, "numel", number(slice.values));
        graph().set(state, "start", number(slice.at));
        graph().build(made, state);
        graph().set(out, group.parameters[slice.parameter].name, made);
    }
    return out;
}

// loss_scaler, dynamic_loss_scale, overflow: as the source has them; BF16_Optimizer has none, and a scale of 1 is what bf16 trains with.
Status OptimizerFile::addScaler(Value into)
{
    if (m_old.find("loss_scaler")) {
        SHARDLENS_TRY(take(into, "loss_scaler"));
    } else {
        const Value scaler = graph().newObject(graph().global("deepspeed.runtime.fp16.loss_scaler", "LossScaler"), graph().tuple({}));
        const Value state = graph().dict();
        graph().set(state, "cur_scale", graph().real(1.0));
        graph().set(state, "dynamic", graph().boolean(false));
        graph().build(scaler, state);
        graph().set(into, "loss_scaler", scaler);
    }
    for (const char* key : {"dynamic_loss_scale", "overflow"}) {
        if (m_old.find(key))
            SHARDLENS_TRY(take(into, key));
        else
            graph().set(into, key, graph().boolean(false));
    }
    return {};
}

// Stages 1, 2 and BF16_Optimizer (§5.2, §5.3).
Status OptimizerFile::addFlat(Value into)
{
    const bool isBf16 = m_reshard.stage == Stage::Bf16Optimizer;
    const bool isElastic = m_run.stage != Stage::Zero3 && m_old.find("base_optimizer_state").kind() == Kind::List;
    std::vector<Value> states;
    std::vector<Value> rows;
    std::vector<std::uint64_t> paddings;
    const Value masters = graph().list();
    const Value alignment = graph().list();
    const Value slices = graph().list();
    const Value counts = graph().list();
    for (std::size_t g = 0; g < m_reshard.groups.size(); ++g) {
        TrainedGroup group = m_reshard.groups[g];
        const GroupShare share = shareOf(m_run, m_reshard.groups[g], m_reshard.world, m_rank);
        group.parameters = *share.parameters;
        if (isRoundRobin(m_run, m_reshard.stage)) {
            std::vector<TrainedParameter> permuted;
            for (const std::size_t i : roundRobinOrder(group.parameters.size(), share.world))
                permuted.push_back(group.parameters[i]);
            group.parameters = std::move(permuted);
        }
        const FlatCut cut = cutFlat(group.parameters, share.world, alignmentOf(group));
        const std::uint64_t begin = cut.partition * share.place;
        const std::vector<Slice> here = slicesOf(group.parameters, cut.begins, begin, begin + cut.partition);
        const std::uint64_t stripped = cut.used(share.place);
        SHARDLENS_ASSIGN(const Value master, vectorOf(group, here, isBf16 ? cut.partition : stripped, {}, true));
        graph().append(masters, master);
        if (group.hasState) {
            SHARDLENS_ASSIGN(const Value state, stateOf(group, here, isElastic ? stripped : cut.partition, 0, group.parameters.size()));
            states.push_back(state);
        } else {
            states.push_back(graph().none());
        }
        if (!isElastic) {
            SHARDLENS_ASSIGN(const Value row, paramGroup(group, {g}));
            rows.push_back(row);
        }
        // BF16_Optimizer counts all of the padding on the last rank (§5.3).
        const bool isLast = share.place + 1 == share.world;
        paddings.push_back(!isBf16 ? cut.partition - stripped : isLast ? cut.partition * cut.world - cut.total : 0);
        graph().append(alignment, numbers(cut.paddings));
        graph().append(slices, mappings(group, here));
        graph().append(counts, number(share.world));
    }
    SHARDLENS_ASSIGN(const Value base, isElastic ? elasticStates(states) : rigidStates(states, rows));
    if (m_old.find("clip_grad"))
        SHARDLENS_TRY(take(into, "clip_grad"));
    else
        graph().set(into, "clip_grad", graph().real(configOf(m_run, {"gradient_clipping"}).asFloat().value_or(0.0)));
    graph().set(into, "base_optimizer_state", base);
    SHARDLENS_TRY(take(into, "base_optimizer_state_step"));
    graph().set(into, "single_partition_of_fp32_groups", masters);
    if (!isBf16)
        graph().set(into, "zero_stage", graph().call(graph().global("deepspeed.runtime.zero.config", "ZeroStageEnum"), graph().tuple({number(m_reshard.zeroStage)})));
    graph().set(into, m_old.find("groups_padding") ? "groups_padding" : "group_paddings", numbers(paddings));
    if (m_old.find("param_alignment_paddings"))
        graph().set(into, "param_alignment_paddings", alignment);
    const bool oneCount = m_run.stage != Stage::Zero3 && countOf(m_old.find("partition_count")).has_value(); // before 0.5.0
    graph().set(into, "partition_count", oneCount ? number(m_reshard.world) : counts);
    if (m_old.find("ds_version"))
        SHARDLENS_TRY(take(into, "ds_version"));
    else if (const auto version = (m_run.folder.isUniversal ? m_run.model.root() : m_source->root()).find("ds_version").asText())
        graph().set(into, "ds_version", graph().text(*version));
    if (m_run.stage == Stage::Zero3 || m_run.folder.isUniversal || m_old.find("param_slice_mappings")) // a universal source lost them
        graph().set(into, "param_slice_mappings", slices);
    return {};
}

Status OptimizerFile::addStage3(Value into)
{
    const std::vector<SubGroup> subGroups = cutIntoSubGroups(m_reshard.groups, m_reshard.world, subGroupSizeOf(m_run));
    std::vector<Value> states;
    std::vector<std::vector<std::size_t>> members(m_reshard.groups.size());
    const Value flat = graph().list();
    for (std::size_t s = 0; s < subGroups.size(); ++s) {
        const SubGroup& sub = subGroups[s];
        const TrainedGroup& group = m_reshard.groups[sub.group];
        std::vector<Slice> here;
        std::uint64_t at = 0;
        for (std::size_t i = sub.first; i < sub.last; ++i) {
            const std::uint64_t count = group.parameters[i].count;
            const std::uint64_t slot = ceilDiv(count, m_reshard.world);
            const std::uint64_t begin = std::min(count, slot * m_rank);
            const std::uint64_t end = std::min(count, slot * m_rank + slot);
            if (begin < end)
                here.push_back({i, begin, end - begin, at});
            at += slot;
        }
        SHARDLENS_ASSIGN(const Value master, vectorOf(group, here, sub.length, {}, true));
        graph().append(flat, master);
        members[sub.group].push_back(s);
        if (!group.hasState) {
            states.push_back(graph().none());
            continue;
        }
        SHARDLENS_ASSIGN(const Value state, stateOf(group, here, sub.length, sub.first, sub.last));
        states.push_back(state);
    }
    std::vector<Value> rows;
    for (std::size_t g = 0; g < m_reshard.groups.size(); ++g) {
        SHARDLENS_ASSIGN(const Value row, paramGroup(m_reshard.groups[g], members[g]));
        rows.push_back(row);
    }
    SHARDLENS_ASSIGN(const Value inner, rigidStates(states, rows));
    graph().set(into, "partition_count", number(m_reshard.world));
    graph().set(into, "optimizer_state_dict", inner);
    graph().set(into, "fp32_flat_groups", flat);
    return {};
}

Result<Value> OptimizerFile::stateDict()
{
    const Value out = graph().dict();
    if (m_reshard.stage == Stage::Zero3)
        graph().set(out, "zero_stage", graph().call(graph().global("deepspeed.runtime.zero.config", "ZeroStageEnum"), graph().tuple({number(m_reshard.zeroStage)})));
    if (m_reshard.stage != Stage::Bf16Optimizer)
        SHARDLENS_TRY(addScaler(out));
    SHARDLENS_TRY(m_reshard.stage == Stage::Zero3 ? addStage3(out) : addFlat(out));
    for (std::size_t i = 0; i < m_old.size(); ++i) {
        const auto key = m_old.keyAt(i).asText();
        if (m_run.folder.isUniversal && key == "param_groups")
            continue; // of the base optimizer
        if (key && std::find(kMade.begin(), kMade.end(), *key) == kMade.end())
            SHARDLENS_TRY(take(out, *key));
    }
    return out;
}

// optimizer_state.pt is the dictionary alone: what stands beside it in a rank's file is in the model file.
Result<TargetTorchFile> OptimizerFile::makeFromUniversal(Value root, std::set<std::string>& leftOut)
{
    SHARDLENS_ASSIGN(const Value state, stateDict());
    graph().set(root, "optimizer_state_dict", state);
    for (const char* key : {"ds_config", "ds_version"}) {
        const Value old = m_run.model.root().find(key);
        if (!old)
            continue;
        SHARDLENS_ASSIGN(const Value made, key == std::string_view("ds_config") ? m_maker.config(m_run.model.torch, old) : m_maker.tree().import(m_run.model.torch, old));
        graph().set(root, key, made);
    }
    return std::move(m_maker).finish(root, leftOut);
}

Result<TargetTorchFile> OptimizerFile::make(std::set<std::string>& leftOut)
{
    const Value oldRoot = m_source->root();
    const Value root = graph().dict();
    if (m_run.folder.isUniversal)
        return makeFromUniversal(root, leftOut);
    for (std::size_t i = 0; i < oldRoot.size(); ++i) {
        const Value value = oldRoot.valueAt(i);
        const std::string key(oldRoot.keyAt(i).asText().value_or(""));
        Result<Value> made = key == "optimizer_state_dict" ? stateDict() : key == "ds_config" ? m_maker.config(m_source, value) : imported(value);
        if (!made)
            return made.takeError();
        graph().set(root, key, *made);
    }
    return std::move(m_maker).finish(root, leftOut);
}

} // namespace

Result<TargetTorchFile> optimizerFile(const Reshard& reshard, std::uint32_t rank, const std::string& name, std::set<std::string>& leftOut)
{
    return OptimizerFile(reshard, rank, name).make(leftOut);
}

} // namespace shardlens::deepspeed
