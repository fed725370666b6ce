#include "core/format/deepspeed/reshard.h"

#include "core/base/checked.h"
#include "core/base/text.h"
#include "core/format/deepspeed/experts.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>

namespace shardlens::deepspeed {
namespace {

using pickle::Kind;
using pickle::Value;

// States of random generators belong to a rank that is no longer the same one: words of their keys in client states.
constexpr std::array<std::string_view, 5> kRandomWords{"rng_state", "rng_states", "rng_tracker", "random_state", "random_states"};

bool isRandomKey(std::string_view key)
{
    return key == "rng" || std::any_of(kRandomWords.begin(), kRandomWords.end(), [key](std::string_view word) { return key.find(word) != std::string_view::npos; });
}

// One model file, put together member by member.
class ModelFile {
public:
    ModelFile(const Reshard& reshard, std::uint32_t rank, const std::string& name)
        : m_reshard(reshard), m_run(*reshard.run), m_rank(rank), m_source(m_run.model.torch), m_maker(reshard, name)
    {
    }

    Result<TargetTorchFile> make(std::set<std::string>& leftOut, std::set<std::string>& dropped);

private:
    Result<Value> member(const std::string& key, Value old);
    [[nodiscard]] std::optional<Value> parallelMember(const std::string& key, Value old);
    Result<Value> module(Value old);
    Result<Value> moduleTensor(const std::string& name, Value old);
    Value shapes();
    Result<Value> frozenShapes();
    Result<Value> frozenFragments();
    [[nodiscard]] std::vector<std::string> frozenNames() const;
    [[nodiscard]] DType trainingDType(Value old) const;
    Result<Value> whole(TensorId tensor, DType dtype);
    Status addMissing(Value root);
    [[nodiscard]] Result<Value> clientState(const std::string& key, Value old);
    [[nodiscard]] Result<Value> withoutRandom(const std::string& name, Value mapping);
    [[nodiscard]] static bool isRandomState(Value mapping, std::size_t i);
    void findRandomStates(Value mapping, const std::string& path, std::set<std::string>& dropped);

    pickle::GraphBuilder& graph() { return m_maker.graph(); }
    [[nodiscard]] const Tensor& tensor(TensorId id) const { return m_reshard.payload->tensor(id); }
    [[nodiscard]] const ParameterTensors* tensorsOf(const std::string& name) const;
    [[nodiscard]] bool isStage3() const { return m_reshard.stage == Stage::Zero3; }

    const Reshard& m_reshard;
    const Run& m_run;
    std::uint32_t m_rank;
    std::shared_ptr<const TorchFile> m_source;
    FileMaker m_maker;
    std::map<std::string, std::size_t> m_storages; // of module tensors already there, by canonical name
    std::map<DType, std::size_t> m_placeholders;
    Value m_randomOf; // the member at hand, where random states lie in it
};

const ParameterTensors* ModelFile::tensorsOf(const std::string& name) const
{
    const auto alias = m_reshard.names->aliases.find(name);
    const auto found = m_reshard.tensors->find(alias == m_reshard.names->aliases.end() ? name : alias->second);
    return found == m_reshard.tensors->end() ? nullptr : &found->second;
}

// What the module itself is trained in: the dtype of a placeholder or of the copy, else what the configuration says.
DType ModelFile::trainingDType(Value old) const
{
    if (TorchFile::isTensor(old))
        if (const auto found = m_source->tensorOf(old))
            return found->dtype;
    if (configOf(m_run, {"bf16", "enabled"}).asBool().value_or(false))
        return DType::BF16;
    return configOf(m_run, {"fp16", "enabled"}).asBool().value_or(false) ? DType::F16 : DType::F32;
}

Result<Value> ModelFile::whole(TensorId id, DType dtype)
{
    const Shape& shape = tensor(id).shape;
    const std::uint64_t values = elementCount(shape).value_or(0);
    std::vector<TargetRun> runs;
    if (values != 0)
        runs.push_back({id, dtype, 0, values, 0});
    return m_maker.tensor(dtype, shape, std::move(runs));
}

Result<Value> ModelFile::moduleTensor(const std::string& name, Value old)
{
    const auto alias = m_reshard.names->aliases.find(name);
    const std::string canonical = alias == m_reshard.names->aliases.end() ? name : alias->second;
    const ParameterTensors* found = tensorsOf(name);
    if (found == nullptr || (!found->module && !found->master))
        return Error{ErrorCode::Refused, fmt::format("{} of the module is in no file", printable(name))};
    const bool isBuffer = m_reshard.names->buffers.contains(name);
    if (isStage3() && !isBuffer) {
        const DType dtype = found->module ? tensor(*found->module).dtype : trainingDType(old);
        if (const auto known = m_placeholders.find(dtype); known != m_placeholders.end())
            return m_maker.tree().tensor(known->second, dtype, {0});
        SHARDLENS_ASSIGN(const Value made, m_maker.tensor(dtype, {0}, {}));
        m_placeholders.emplace(dtype, m_maker.lastStorage());
        return made;
    }
    const TensorId id = found->module ? *found->module : *found->master;
    const DType dtype = found->module ? tensor(id).dtype : trainingDType(old);
    if (const auto known = m_storages.find(canonical); known != m_storages.end())
        return m_maker.tree().tensor(known->second, dtype, tensor(id).shape);
    SHARDLENS_ASSIGN(const Value made, whole(id, dtype));
    m_storages.emplace(canonical, m_maker.lastStorage());
    return made;
}

// The module's state_dict: every name in its order, tied names on one storage, `_metadata` as it was.
Result<Value> ModelFile::module(Value old)
{
    if (!old.isMapping())
        return Error{ErrorCode::Refused, "the model file holds no module"};
    const Value out = old.kind() == Kind::Dict ? graph().dict() : graph().orderedDict();
    for (std::size_t i = 0; i < old.size(); ++i) {
        const std::string name(old.keyAt(i).asText().value_or(""));
        const bool isTensor = TorchFile::isTensor(old.valueAt(i));
        auto value = isTensor ? moduleTensor(name, old.valueAt(i)) : m_maker.tree().import(m_source, old.valueAt(i));
        if (!value)
            return value.takeError();
        graph().set(out, name, *value);
    }
    if (old.state() && out.kind() != Kind::Dict) {
        SHARDLENS_ASSIGN(const Value state, m_maker.tree().import(m_source, old.state()));
        graph().build(out, state);
    }
    return out;
}

// param_shapes: one dictionary a flat group, or a sub-group of ZeRO-3, in the order of flattening (formats/deepspeed.md §3).
Value ModelFile::shapes()
{
    const Value out = graph().list();
    const auto add = [&](const TrainedGroup& group, const std::vector<std::size_t>& order) {
        const Value dict = graph().orderedDict();
        for (const std::size_t i : order)
            graph().set(dict, group.parameters[i].name, m_maker.size(group.parameters[i].shape));
        graph().append(out, dict);
    };
    const auto range = [](std::size_t first, std::size_t last) {
        std::vector<std::size_t> order;
        for (std::size_t i = first; i < last; ++i)
            order.push_back(i);
        return order;
    };
    if (isStage3()) {
        for (const SubGroup& sub : cutIntoSubGroups(m_reshard.groups, m_reshard.world, subGroupSizeOf(m_run)))
            add(m_reshard.groups[sub.group], range(sub.first, sub.last));
        return out;
    }
    const bool roundRobin = isRoundRobin(m_run, m_reshard.stage);
    for (const TrainedGroup& group : m_reshard.groups) {
        const std::size_t count = group.parameters.size();
        add(group, roundRobin ? roundRobinOrder(count, shareOf(m_run, group, m_reshard.world, 0).world) : range(0, count));
    }
    return out;
}

// Names of the module that no group trains, and that are no buffers and no aliases; in its order.
std::vector<std::string> ModelFile::frozenNames() const
{
    std::vector<std::string> out;
    const Value old = m_source->root().find("module");
    for (std::size_t i = 0; i < old.size(); ++i) {
        const std::string name(old.keyAt(i).asText().value_or(""));
        const ParameterTensors* found = tensorsOf(name);
        const bool other = !TorchFile::isTensor(old.valueAt(i)) || m_reshard.names->buffers.contains(name) || m_reshard.names->aliases.contains(name);
        if (!other && found != nullptr && found->module && !found->master)
            out.push_back(name);
    }
    // Experts are in files of their own; the model file tells of those of the first expert-parallel rank.
    for (const std::string& name : m_reshard.payload->parameters()) {
        const auto parameter = expertParameterOf(name);
        const auto module = parameter ? m_run.expertModules.find(parameter->module) : m_run.expertModules.end();
        const bool isFirst = module != m_run.expertModules.end() && parameter->expert < module->second.localExperts;
        const ParameterTensors* found = isFirst ? tensorsOf(name) : nullptr;
        if (found != nullptr && found->module && !found->master && !m_reshard.names->buffers.contains(name))
            out.push_back(name);
    }
    return out;
}

// Filled for stages 2 and 3 only.
Result<Value> ModelFile::frozenShapes()
{
    if (m_reshard.zeroStage < 2)
        return graph().none();
    const Value out = graph().orderedDict();
    for (const std::string& name : frozenNames())
        graph().set(out, name, m_maker.size(tensor(*tensorsOf(name)->module).shape));
    return out;
}

Result<Value> ModelFile::frozenFragments()
{
    if (m_reshard.zeroStage < 2)
        return graph().none();
    const Value out = graph().orderedDict();
    for (const std::string& name : frozenNames()) {
        const TensorId id = *tensorsOf(name)->module;
        const std::uint64_t count = elementCount(tensor(id).shape).value_or(0);
        const std::uint64_t slot = ceilDiv(count, m_reshard.world);
        const std::uint64_t begin = std::min(count, slot * m_rank);
        const std::uint64_t end = std::min(count, slot * m_rank + slot);
        std::vector<TargetRun> runs;
        if (begin < end)
            runs.push_back({id, tensor(id).dtype, begin, end - begin, 0});
        auto made = isStage3() ? m_maker.tensor(tensor(id).dtype, {slot}, std::move(runs)) : whole(id, tensor(id).dtype);
        if (!made)
            return made.takeError();
        graph().set(out, name, *made);
    }
    return out;
}

// What a file of several model-parallel ranks says of them.
std::optional<Value> ModelFile::parallelMember(const std::string& key, Value old)
{
    const Reshard::Stages& stages = *m_reshard.stages;
    const auto size = [&](std::uint32_t count) { return graph().integer(count); };
    if (key == "module" && old.isNone())
        return graph().none(); // in files of its layers
    if (m_run.stage == Stage::None && (key == "optimizer" || key == "param_shapes"))
        return graph().none(); // the optimizer numbers parameters that are elsewhere now
    if (key == "mp_world_size")
        return size(stages.pp * stages.tp);
    if (key == "buffer_names" && m_source->root().find("module").isNone()) {
        const Value list = graph().list();
        for (const std::string& name : stages.buffers)
            graph().append(list, graph().text(name));
        return list;
    }
    if (key == "checkpoint_parallel_dimensions" && old.isMapping()) {
        const Value dict = graph().dict();
        graph().set(dict, "pp_degree", size(stages.pp));
        graph().set(dict, "tp_degree", size(stages.tp));
        return dict;
    }
    return std::nullopt;
}

Result<Value> ModelFile::member(const std::string& key, Value old)
{
    if (m_reshard.stages)
        if (const auto made = parallelMember(key, old))
            return *made;
    if (key == "module")
        return module(old);
    if (key == "param_shapes")
        return shapes();
    if (key == "frozen_param_shapes")
        return frozenShapes();
    if (key == "frozen_param_fragments")
        return frozenFragments();
    if (key == "dp_world_size")
        return graph().integer(m_reshard.world);
    if (key == "ds_config")
        return m_maker.config(m_source, old);
    if (key == "shared_params" && isStage3() && m_rank != 0)
        return graph().dict(); // only rank 0 fills it (formats/deepspeed.md §3)
    return m_randomOf == old ? withoutRandom(key, old) : clientState(key, old);
}

// What the program does not interpret, as it is; refused where tensors would be lost with an object that is left out.
Result<Value> ModelFile::clientState(const std::string& key, Value old)
{
    SHARDLENS_ASSIGN(const Value made, m_maker.tree().import(m_source, old));
    if (!m_maker.tree().leftOut().empty() && tensorsBelow(made) < tensorsBelow(old))
        return Error{ErrorCode::Refused, fmt::format("tensors of {} lie in objects of unknown classes ({}) and would be lost with them; --keep-objects writes these as they are",
                                                     printable(key), m_maker.tree().leftOut().back())};
    return made;
}

// A dictionary without the random states in it. Values that stand there and elsewhere stay elsewhere.
Result<Value> ModelFile::withoutRandom(const std::string& name, Value mapping)
{
    const Value out = mapping.isCallOf("collections", "OrderedDict") ? graph().orderedDict() : graph().dict();
    for (std::size_t i = 0; i < mapping.size(); ++i) {
        if (isRandomState(mapping, i))
            continue;
        SHARDLENS_ASSIGN(const Value key, m_maker.tree().import(m_source, mapping.keyAt(i)));
        SHARDLENS_ASSIGN(const Value value, clientState(name, mapping.valueAt(i)));
        graph().set(out, key, value);
    }
    return out;
}

bool ModelFile::isRandomState(Value mapping, std::size_t i)
{
    const auto key = mapping.keyAt(i).asText();
    const Value value = mapping.valueAt(i);
    const bool holds = value.isMapping() || value.isSequence() || TorchFile::isTensor(value) || value.asBytes();
    return key && holds && isRandomKey(*key);
}

// Members that the source's version or stage does not write, and a reader of the target needs.
Status ModelFile::addMissing(Value root)
{
    const Value old = m_source->root();
    if (!m_run.firstOptimizer())
        return {}; // the model's files alone
    const bool shapesElsewhere = m_run.optimizers.at(*m_run.firstOptimizer()).root().find("param_shapes").isMapping() ||
                                 m_run.optimizers.at(*m_run.firstOptimizer()).root().find("param_shapes").isSequence();
    if (!old.find("param_shapes") && !shapesElsewhere)
        graph().set(root, "param_shapes", shapes());
    if (m_reshard.zeroStage < 2 || frozenNames().empty() || old.find("frozen_param_shapes"))
        return {};
    SHARDLENS_ASSIGN(const Value frozen, frozenShapes());
    SHARDLENS_ASSIGN(const Value fragments, frozenFragments());
    graph().set(root, "frozen_param_shapes", frozen);
    graph().set(root, "frozen_param_fragments", fragments);
    return {};
}

// One level inside the members of the file.
void ModelFile::findRandomStates(Value mapping, const std::string& path, std::set<std::string>& dropped)
{
    m_randomOf = {};
    for (std::size_t i = 0; mapping.isMapping() && i < mapping.size(); ++i) {
        if (!isRandomState(mapping, i))
            continue;
        m_randomOf = mapping;
        dropped.insert(fmt::format("{}.{}", path, *mapping.keyAt(i).asText()));
    }
}

Result<TargetTorchFile> ModelFile::make(std::set<std::string>& leftOut, std::set<std::string>& dropped)
{
    const Value old = m_source->root();
    const Value root = graph().dict();
    for (std::size_t i = 0; i < old.size(); ++i) {
        const std::string key(old.keyAt(i).asText().value_or(""));
        SHARDLENS_ASSIGN(const Value newKey, m_maker.tree().import(m_source, old.keyAt(i))); // numbers and tuples are keys too
        m_randomOf = {};
        if (isRandomKey(key)) {
            dropped.insert(key);
            continue;
        }
        if (key != "module" && key != "ds_config")
            findRandomStates(old.valueAt(i), key, dropped);
        SHARDLENS_ASSIGN(const Value value, member(key, old.valueAt(i)));
        const bool vanished = value.isNone() && !old.valueAt(i).isNone() && !m_maker.tree().leftOut().empty();
        if (!vanished || key.starts_with("frozen_"))
            graph().set(root, newKey, value);
    }
    SHARDLENS_TRY(addMissing(root));
    return std::move(m_maker).finish(root, leftOut);
}

} // namespace

Result<TargetTorchFile> modelFile(const Reshard& reshard, std::uint32_t rank, const std::string& name, std::set<std::string>& leftOut, std::set<std::string>& dropped)
{
    return ModelFile(reshard, rank, name).make(leftOut, dropped);
}

} // namespace shardlens::deepspeed
