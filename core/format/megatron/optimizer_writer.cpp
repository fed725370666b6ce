#include "core/format/megatron/optimizer_writer.h"

#include "core/base/text.h"

#include <fmt/format.h>

#include <algorithm>
#include <set>

namespace shardlens::megatron {
namespace {

using pickle::Value;
using Fate = pickle::GraphBuilder::Fate;

std::string stateName(const Role& role)
{
    return role.kind == RoleKind::Weight ? "param" : role.name;
}

Value dtypeValue(TargetFileMaker& maker, DType dtype)
{
    return maker.graph().global("torch", info(dtype).torchName);
}

// The optimizer's own dictionary of torch in that of a rank, and the lists of masters, under the names they have had (§4.2).
struct PlainPlaces {
    Value torchs;
    Value masters;
};

PlainPlaces placesOf(Value optimizer)
{
    PlainPlaces out{optimizer.find("optimizer"), optimizer.find("fp32_from_fp16_params")};
    if (!out.torchs.isMapping())
        out.torchs = optimizer.find("optimizer_state_dict");
    if (!out.torchs.isMapping())
        out.torchs = optimizer;
    if (!out.masters)
        out.masters = optimizer.find("fp32_from_fp16");
    return out;
}

} // namespace

OptimizerWriter::OptimizerWriter(const RankSet& set, LocalTensors& parts, const Sizes& target, JobContext& job)
    : m_set(set), m_parts(parts), m_target(target), m_job(job)
{
    const Checkpoint& joined = parts.joined();
    for (std::size_t i = 0; i < joined.tensors().size(); ++i) {
        const TensorId id = idAt<TensorId>(i);
        const Role& role = joined.roleOf(id);
        const std::string& parameter = joined.parameterOf(id);
        if (role.kind == RoleKind::OptimizerState || (role.kind == RoleKind::Weight && set.mastered.contains(parameter)))
            m_states[parameter].emplace_back(role, id);
    }
}

// Where there is no expert parallel, experts are parameters like the others for Megatron-LM.
bool OptimizerWriter::mergesExperts() const
{
    return m_set.optimizer.isChained && m_set.sizes.ep > 1 && m_target.ep == 1;
}

const TensorId* OptimizerWriter::stateOf(const std::string& parameter, const Role& role) const
{
    const auto known = m_states.find(parameter);
    if (known == m_states.end())
        return nullptr;
    for (const auto& [held, id] : known->second)
        if (held.kind == role.kind && held.name == role.name)
            return &id;
    return nullptr;
}

std::string OptimizerWriter::whyNot(const Placement& placement) const
{
    const OptimizerKept& kept = m_set.optimizer;
    const Checkpoint& joined = m_parts.joined();
    if (!joined.lostTensors().empty())
        return joined.lostTensors().front().problem;
    if (kept.kind == OptimizerKept::Kind::None)
        return "The files hold no states that are read.";
    for (const File& file : joined.files())
        if (file.state != File::State::Read)
            return fmt::format("{} is missing or cannot be read.", printable(file.name));
    if (m_target.ep > 1 && !kept.isChained)
        for (const auto& [parameter, states] : m_states)
            if (isExpertParameter(m_set.rules, parameter))
                return "Experts share an optimizer with the other parameters, and at expert parallel they have one of their own.";
    const bool isPlain = kept.kind == OptimizerKept::Kind::Plain;
    const std::vector<Role> roles = isPlain ? rolesOfRanks() : rolesOfBuffers();
    for (const auto& [parameter, tensor] : placement.modelTensors())
        for (const Role& role : roles) {
            const DType dtype = joined.tensor(tensor).dtype;
            const bool hasRole = isPlain ? role.kind != RoleKind::Weight || isHalfPrecision(dtype) : kept.dtypes.contains(dtype);
            if (hasRole && isTrained(m_set.rules, parameter) && stateOf(parameter, role) == nullptr)
                return fmt::format("{} has no {}{}.", printable(parameter), role.name, isPlain ? " on some ranks that hold it" : "");
        }
    return isPlain ? whyNoGroup() : std::string();
}

std::vector<Role> OptimizerWriter::rolesOfBuffers() const
{
    std::vector<Role> out;
    for (const auto& [role, stored] : m_set.optimizer.states)
        out.push_back(role);
    return out;
}

// Those of every rank, also where the joined model has none of them because other ranks lack them.
std::vector<Role> OptimizerWriter::rolesOfRanks() const
{
    std::set<std::pair<RoleKind, std::string>> found;
    for (const Rank& rank : m_set.ranks) {
        for (std::size_t i = 0; rank.ordered && i < rank.ordered->tensors().size(); ++i) {
            const Role& role = rank.ordered->roleOf(idAt<TensorId>(i));
            if (role.kind == RoleKind::OptimizerState || role.name != "weight")
                found.emplace(role.kind, role.name);
        }
    }
    std::vector<Role> out;
    for (const auto& [kind, name] : found)
        out.push_back({kind, name});
    return out;
}

// Every rank's dictionary can become that of any stage: each must have a group for every sort of parameter that there is.
std::string OptimizerWriter::whyNoGroup() const
{
    std::map<std::pair<bool, bool>, std::string> sorts; // decays, of experts: one of them
    for (const auto& [parameter, states] : m_states)
        sorts.try_emplace({isDecayed(m_parts.joined().tensor(modelShaped(states)).shape.size(), parameter), isExpertParameter(m_set.rules, parameter)},
                          parameter);
    for (const Rank& rank : m_set.ranks)
        for (const auto& [sort, parameter] : sorts) {
            const std::size_t optimizer = m_set.optimizer.isChained && !mergesExperts() && sort.second ? 1 : 0;
            const bool isTaken = optimizer < rank.groups.size() && std::any_of(rank.groups[optimizer].begin(), rank.groups[optimizer].end(),
                                                                               [&](const GroupClass& group) { return group.takes(sort.first, sort.second); });
            if (!isTaken)
                return fmt::format("{} has no group of parameters that {} would belong to.", printable(rank.name), printable(parameter));
        }
    return {};
}

// Of the states of a parameter one that is no single number, where there is one.
TensorId OptimizerWriter::modelShaped(const std::vector<std::pair<Role, TensorId>>& states) const
{
    for (const auto& [role, id] : states)
        if (!m_parts.joined().tensor(id).shape.empty())
            return id;
    return states.front().second;
}

Result<std::vector<OptimizerWriter::Member>> OptimizerWriter::membersOf(const std::vector<Placed>& placed, std::uint32_t tp)
{
    std::vector<Member> out;
    for (const Placed& one : placed) {
        if (!m_states.contains(one.global))
            continue;
        auto part = m_parts.part(one.global, one.tensor, tp);
        if (!part)
            return part.takeError().within(printable(one.global));
        out.push_back({&one, m_parts.joined().tensor(one.tensor).dtype, part.take(), isExpertParameter(m_set.rules, one.local)});
    }
    return out;
}

BufferRule OptimizerWriter::ruleOf(bool ofExperts, bool isFirstStage) const
{
    const BufferArguments arguments = bufferArguments(m_set, ofExperts, isFirstStage);
    BufferRule out{m_set.optimizer.alignment, std::nullopt, false, m_set.isTied && m_target.pp > 1};
    if (isFirstStage && arguments.overlaps.value_or(false))
        out.bucketSize = arguments.ddpBucketSize ? *arguments.ddpBucketSize : usualBucketSize(arguments.dataParallel.value_or(1));
    return out;
}

std::string OptimizerWriter::layoutText() const
{
    const BufferRule first = ruleOf(false, true);
    std::string out = first.alignment == 1 ? "parameters end to end, as the source's"
                                           : fmt::format("parameters begin every {} elements, as Megatron-LM has them since July 2024", first.alignment);
    out += first.bucketSize ? fmt::format(", buckets of {} on the first stage", groupedText(*first.bucketSize)) : ", one bucket";
    if (mergesExperts())
        out += ", experts among the others as there is no expert parallel";
    return out;
}

Result<Value> OptimizerWriter::vectorOf(TargetFileMaker& maker, const Buffer& buffer, const Role& role, DType dtype)
{
    const std::uint64_t cell = info(dtype).bytesPerBlock;
    const std::vector<std::uint64_t> begins = buffer.layout.begins();
    std::vector<TargetRun> runs;
    for (std::size_t i = 0; i < buffer.members.size(); ++i) {
        SHARDLENS_TRY(m_job.poll());
        const std::string& parameter = buffer.members[i]->placed->global;
        const TensorId* state = stateOf(parameter, role);
        if (state == nullptr)
            return Error{ErrorCode::Corrupt, fmt::format("{} has no {}", printable(parameter), stateName(role))};
        auto part = m_parts.part(parameter, *state, buffer.tp);
        if (!part)
            return part.takeError().within(printable(parameter));
        if (part->values != 0)
            runs.push_back({part->tensor, dtype, 0, part->values, begins[i] * cell});
    }
    std::sort(runs.begin(), runs.end(), [](const TargetRun& a, const TargetRun& b) { return a.offsetBytes < b.offsetBytes; });
    return maker.tensor(dtype, {buffer.layout.length()}, std::move(runs));
}

Result<Value> OptimizerWriter::bufferDict(TargetFileMaker& maker, const std::vector<Member>& members, std::uint32_t tp, const BufferRule& rule)
{
    std::vector<std::pair<DType, std::vector<const Member*>>> groups; // dtypes as they first come
    for (const Member& one : members) {
        const auto known = std::find_if(groups.begin(), groups.end(), [&](const auto& group) { return group.first == one.dtype; });
        (known == groups.end() ? groups.emplace_back(one.dtype, std::vector<const Member*>{}) : *known).second.push_back(&one);
    }
    const Value made = maker.graph().dict();
    maker.graph().set(made, "buckets_coalesced", maker.graph().boolean(true));
    for (std::size_t i = 0; i < groups.size(); ++i) {
        const auto& [dtype, own] = groups[i];
        std::vector<BufferParameter> parameters;
        for (const Member* one : own)
            parameters.push_back({elementCount(one->model.shape).value_or(0), isSharedParameter(m_set.rules, m_target.pp, one->placed->local)});
        auto layout = layOutBuffer(parameters, rule);
        if (!layout)
            return Error{ErrorCode::LimitExceeded, "a buffer has more than 2^64 elements"};
        const Buffer laid{own, std::move(*layout), tp};
        const Value buffer = maker.graph().dict();
        for (const auto& [role, stored] : m_set.optimizer.states) {
            SHARDLENS_ASSIGN(const Value vector, vectorOf(maker, laid, role, stored));
            maker.graph().set(buffer, stateName(role), vector);
        }
        maker.graph().set(buffer, "numel_unpadded", maker.graph().integer(static_cast<std::int64_t>(laid.layout.length())));
        const auto gradients = m_set.optimizer.gradients.find(dtype);
        const Value key =
            maker.graph().tuple({dtypeValue(maker, dtype), dtypeValue(maker, gradients == m_set.optimizer.gradients.end() ? DType::F32 : gradients->second)});
        const Value byDtype = maker.graph().dict();
        maker.graph().set(byDtype, key, buffer);
        maker.graph().set(made, maker.graph().integer(static_cast<std::int64_t>(i)), byDtype);
    }
    return made;
}

Result<Value> OptimizerWriter::buffers(TargetFileMaker& maker, const std::vector<Placed>& placed, const RankPlace& place)
{
    SHARDLENS_ASSIGN(const auto members, membersOf(placed, place.tp));
    if (!m_set.optimizer.isChained || mergesExperts())
        return bufferDict(maker, members, place.tp, ruleOf(false, place.pp == 0));
    const Value list = maker.graph().list();
    for (const bool ofExperts : {false, true}) {
        if (!ofExperts && place.ep > 0) { // the first expert-parallel rank writes them
            maker.graph().append(list, maker.graph().none());
            continue;
        }
        std::vector<Member> own;
        std::copy_if(members.begin(), members.end(), std::back_inserter(own), [&](const Member& one) { return one.isExpert == ofExperts; });
        SHARDLENS_ASSIGN(const Value buffer, bufferDict(maker, own, place.tp, ruleOf(ofExperts, place.pp == 0)));
        maker.graph().append(list, buffer);
    }
    return list;
}

Result<Value> OptimizerWriter::tensorOf(TargetFileMaker& maker, const Placed& placed, TensorId state, std::uint32_t tp)
{
    SHARDLENS_TRY(m_job.poll());
    auto part = m_parts.part(placed.global, state, tp);
    if (!part)
        return part.takeError().within(printable(placed.global));
    const DType dtype = m_parts.joined().tensor(state).dtype;
    std::vector<TargetRun> runs;
    if (part->values != 0)
        runs.push_back({part->tensor, dtype, 0, part->values, 0});
    return maker.tensor(dtype, part->shape, std::move(runs));
}

Result<Value> OptimizerWriter::statesDict(TargetFileMaker& maker, const Placed& placed, std::uint32_t tp)
{
    const Value out = maker.graph().dict();
    for (const auto& [role, id] : m_states.at(placed.global)) {
        if (role.kind == RoleKind::Weight)
            continue;
        const auto number = m_set.optimizer.numbers.find({placed.global, role.name});
        if (number != m_set.optimizer.numbers.end()) {
            const auto* whole = std::get_if<std::int64_t>(&number->second);
            maker.graph().set(out, role.name, whole != nullptr ? maker.graph().integer(*whole) : maker.graph().real(std::get<double>(number->second)));
            continue;
        }
        SHARDLENS_ASSIGN(const Value tensor, tensorOf(maker, placed, id, tp));
        maker.graph().set(out, role.name, tensor);
    }
    return out;
}

Result<Value> OptimizerWriter::plainDict(TargetFileMaker& maker, const PlainSource& from, const std::vector<Member>& members, std::uint32_t tp)
{
    const Value held = from.rank.content.torch->root().find("optimizer");
    const Value source = held.isSequence() ? held.at(from.optimizer) : held;
    const PlainPlaces places = placesOf(source);
    const std::vector<GroupClass>& classes = from.rank.groups[from.optimizer];
    const Value states = maker.graph().dict();
    const Value masters = maker.graph().list();
    std::map<std::uint32_t, Value> changed;
    if (const Value old = places.torchs.find("state"))
        changed.emplace(old.index(), states);
    if (places.masters)
        changed.emplace(places.masters.index(), masters);
    std::int64_t number = 0;
    for (std::size_t g = 0; g < classes.size(); ++g) {
        const Value numbers = maker.graph().list();
        const Value ofGroup = maker.graph().list();
        for (const Member& one : members) {
            if (!classes[g].takes(isDecayed(one.model.shape.size(), one.placed->local), one.isExpert))
                continue;
            SHARDLENS_ASSIGN(const Value own, statesDict(maker, *one.placed, tp));
            maker.graph().set(states, maker.graph().integer(number), own);
            maker.graph().append(numbers, maker.graph().integer(number++));
            for (const auto& [role, id] : m_states.at(one.placed->global))
                if (role.kind == RoleKind::Weight) {
                    SHARDLENS_ASSIGN(const Value master, tensorOf(maker, *one.placed, id, tp));
                    maker.graph().append(ofGroup, master);
                }
        }
        changed.emplace(places.torchs.find("param_groups").at(g).find("params").index(), numbers);
        maker.graph().append(masters, ofGroup);
    }
    return maker.tree().import(from.rank.content.torch, source, [&](Value value) -> Fate {
        const auto known = changed.find(value.index());
        return known == changed.end() ? Fate{} : Fate{Fate::Kind::Replace, known->second};
    });
}

Result<Value> OptimizerWriter::dictionary(TargetFileMaker& maker, const Rank& from, const std::vector<Placed>& placed, std::uint32_t tp)
{
    const Value held = from.content.torch->root().find("optimizer");
    const bool isMerged = mergesExperts() && held.isSequence(); // into the optimizer of the dense parameters
    if (m_set.optimizer.kind == OptimizerKept::Kind::Distributed)
        return maker.tree().import(from.content.torch, isMerged ? held.at(0) : held);
    SHARDLENS_ASSIGN(const auto members, membersOf(placed, tp));
    if (!held.isSequence() || isMerged)
        return plainDict(maker, {from, 0}, members, tp);
    const Value list = maker.graph().list();
    for (std::size_t i = 0; i < held.size(); ++i) {
        std::vector<Member> own;
        std::copy_if(members.begin(), members.end(), std::back_inserter(own), [&](const Member& one) { return held.size() == 1 || one.isExpert == (i == 1); });
        SHARDLENS_ASSIGN(const Value made, plainDict(maker, {from, i}, own, tp));
        maker.graph().append(list, made);
    }
    return list;
}

} // namespace shardlens::megatron
