#include "core/format/torch_dist/target_common.h"

#include "core/base/text.h"
#include "core/encoding/torch_pieces.h"
#include "core/format/torch_dist/iteration.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <map>

namespace shardlens::torch_dist {
namespace {

using pickle::Value;
using Fate = pickle::GraphBuilder::Fate;

constexpr std::string_view kReshardable = "fully_reshardable";
constexpr std::string_view kShardingKey = "param_state_sharding_type";

// "chained_1.optimizer.distributed.dp_group_idx_3.grad_scaler": what an optimizer keeps beside its states, once a data-parallel group (§6.8).
struct GroupObject {
    std::uint64_t optimizer = 0;
    std::uint64_t group = 0;
    std::string member;
};

std::optional<std::uint64_t> takeNumber(std::string_view& text, std::string_view before)
{
    std::uint64_t number = 0;
    if (!text.starts_with(before))
        return std::nullopt;
    text.remove_prefix(before.size());
    const auto [end, failed] = std::from_chars(text.data(), text.data() + text.size(), number);
    if (failed != std::errc{} || end == text.data() + text.size() || *end != '.')
        return std::nullopt;
    text.remove_prefix(static_cast<std::size_t>(end - text.data()) + 1);
    return number;
}

std::optional<GroupObject> groupObjectOf(std::string_view key)
{
    GroupObject out;
    if (key.starts_with("chained_")) {
        const auto number = takeNumber(key, "chained_");
        if (!number)
            return std::nullopt;
        out.optimizer = *number;
    }
    const auto group = takeNumber(key, "optimizer.distributed.dp_group_idx_");
    if (!group)
        return std::nullopt;
    out.group = *group;
    out.member = key;
    return out;
}

bool isModelKey(std::string_view key)
{
    return key.starts_with("model") && key.find_first_not_of("0123456789", 5) == std::string_view::npos;
}

} // namespace

// Storages of an archive that lies inside a file count from its begin.
Status TargetCommon::withStorages(const std::shared_ptr<const TorchFile>& file, FileId id, std::uint64_t offset)
{
    if (file->storages().empty() || !m_withStorages.insert(file.get()).second)
        return {};
    const auto placementOf = [&](TorchStorage storage) {
        storage.offset += storage.decoded ? 0 : offset;
        return storagePlacement(m_payload, id, storage, m_payload.holder({}));
    };
    return addStorageTensors(m_payload, id, *file, m_storages, fmt::format("at byte {} of ", offset), placementOf);
}

Result<TargetDcpItem> TargetCommon::object(const SourceObject& object)
{
    SHARDLENS_TRY(withStorages(object.file, object.id, object.offset));
    TargetFileMaker maker(m_storages, m_keepObjects, object.text);
    auto root = maker.tree().import(object.file, object.file->root());
    if (!root)
        return root.takeError().within(printable(object.text));
    SHARDLENS_ASSIGN(TargetTorchFile made, std::move(maker).finish(*root, m_leftOut));
    return TargetDcpItem{std::move(made.pickle), std::move(made.storages)};
}

Result<TargetDcpItem> TargetCommon::nothing()
{
    TargetFileMaker maker(m_storages, m_keepObjects, {});
    const Value list = maker.graph().list();
    maker.graph().append(list, maker.graph().none());
    SHARDLENS_ASSIGN(TargetTorchFile made, std::move(maker).finish(list, m_leftOut));
    return TargetDcpItem{std::move(made.pickle), std::move(made.storages)};
}

bool TargetCommon::isOfOptimizer(const SourceObject& object)
{
    return object.key.key.starts_with("optimizer.") || (object.key.key.starts_with("chained_") && object.key.key.find(".optimizer.") != std::string::npos);
}

bool TargetCommon::isInCommon(const SourceObject& object) const
{
    return m_source.becomesReshardable() && groupObjectOf(object.key.key).has_value();
}

// args, with the format's name where they say one.
Result<Value> TargetCommon::arguments(TargetFileMaker& maker, Value args)
{
    std::map<std::uint32_t, Value> changed;
    for (const char* name : {"ckpt_format", "dist_ckpt_format"}) {
        const Value held = args.attribute(name) ? args.attribute(name) : args.find(name);
        if (held && held.asText() && *held.asText() != kBackend)
            changed.emplace(held.index(), maker.graph().text(kBackend));
    }
    return maker.tree().import(m_source.file, args, [&](Value value) -> Fate {
        const auto known = changed.find(value.index());
        return known == changed.end() ? Fate{} : Fate{Fate::Kind::Replace, known->second};
    });
}

// How the optimizer's keys are made; the source's, with what has become true.
Result<Value> TargetCommon::contentMetadata(TargetFileMaker& maker)
{
    pickle::GraphBuilder& graph = maker.graph();
    const Value had = m_source.file ? m_source.root.find("content_metadata") : Value{};
    const bool isOwn = m_source.kind == TargetSource::Kind::TorchDist && !m_source.becomesReshardable();
    if (isOwn && !had.isMapping())
        return Value{};
    const bool isReshardable = m_hasStates && !isOwn && (m_source.becomesReshardable() || !m_source.sharding.empty());
    const Value made = graph.dict();
    for (std::size_t i = 0; i < had.size(); ++i) {
        const auto key = had.keyAt(i).asText();
        const bool isSaid = key && (*key == "singleton_local_shards" || (!isOwn && (*key == "chained_optim_avoid_prefix" || key->starts_with("distrib_optim_"))));
        if (!key || isSaid)
            continue;
        SHARDLENS_ASSIGN(const Value value, maker.tree().import(m_source.file, had.valueAt(i)));
        graph.set(made, *key, value);
    }
    graph.set(made, "singleton_local_shards", graph.boolean(false));
    if (!isOwn)
        graph.set(made, "chained_optim_avoid_prefix", graph.boolean(true));
    if (isReshardable) {
        graph.set(made, "distrib_optim_sharding_type", graph.text(kReshardable));
        graph.set(made, "distrib_optim_fully_reshardable_mem_efficient", graph.boolean(false));
    }
    return made;
}

Result<Value> TargetCommon::stateOf(TargetFileMaker& maker, const std::optional<TargetStep>& step)
{
    const Value out = maker.graph().dict();
    if (!step)
        return out;
    Value number;
    if (const auto* tensor = std::get_if<TensorId>(&*step)) {
        SHARDLENS_ASSIGN(number, maker.whole(m_payload.tensor(*tensor), *tensor));
    } else if (const auto* whole = std::get_if<std::int64_t>(&*step)) {
        number = maker.graph().integer(*whole);
    } else {
        number = maker.graph().real(std::get<double>(*step));
    }
    maker.graph().set(out, "common_step", number);
    return out;
}

// torch's own dictionary: states lie in the container, and which parameters a group has is the loading run's business.
Result<Value> TargetCommon::innerOfRanks(TargetFileMaker& maker, Value inner, const std::optional<TargetStep>& step)
{
    const Value out = maker.graph().dict();
    for (std::size_t i = 0; i < inner.size(); ++i) {
        const std::string key(inner.keyAt(i).asText().value_or(""));
        const Value held = inner.valueAt(i);
        Value value;
        if (key == "state") {
            SHARDLENS_ASSIGN(value, stateOf(maker, step));
        } else if (key == "param_groups") {
            value = maker.graph().list();
            for (std::size_t g = 0; g < held.size(); ++g) {
                const Value members = held.at(g).find("params");
                SHARDLENS_ASSIGN(const Value group, maker.tree().import(m_source.file, held.at(g), [&](Value one) { return members && one == members ? Fate{Fate::Kind::Drop, {}} : Fate{}; }));
                maker.graph().append(value, group);
            }
        } else {
            SHARDLENS_ASSIGN(value, maker.tree().import(m_source.file, held));
        }
        maker.graph().set(out, key, value);
    }
    return out;
}

Result<Value> TargetCommon::optimizerOfRanks(TargetFileMaker& maker, Value optimizer, const std::optional<TargetStep>& step)
{
    if (optimizer.find("param_groups")) // of a run in float32: nothing around torch's dictionary
        return innerOfRanks(maker, optimizer, step);
    const Value out = maker.graph().dict();
    for (std::size_t i = 0; i < optimizer.size(); ++i) {
        const std::string key(optimizer.keyAt(i).asText().value_or(""));
        if (key.starts_with("fp32_from_fp16")) // the masters
            continue;
        Value value;
        if (key == "optimizer") {
            SHARDLENS_ASSIGN(value, innerOfRanks(maker, optimizer.valueAt(i), step));
        } else {
            SHARDLENS_ASSIGN(value, maker.tree().import(m_source.file, optimizer.valueAt(i)));
        }
        maker.graph().set(out, key, value);
    }
    if (!m_source.sharding.empty())
        maker.graph().set(out, kShardingKey, maker.graph().text(kReshardable));
    return out;
}

// What each data-parallel group had as an object is the same for all of them: that of the first group.
Result<Value> TargetCommon::optimizerOfObjects(TargetFileMaker& maker)
{
    std::map<std::uint64_t, std::map<std::string, std::pair<std::uint64_t, const SourceObject*>>> optimizers;
    for (const SourceObject& object : m_source.objects) {
        const auto place = groupObjectOf(object.key.key);
        if (!place || place->member == "param_state")
            continue;
        const auto [known, isNew] = optimizers[place->optimizer].try_emplace(place->member, place->group, &object);
        if (!isNew && place->group < known->second.first)
            known->second = {place->group, &object};
    }
    std::vector<std::pair<std::uint64_t, Value>> made;
    for (const auto& [number, members] : optimizers) {
        const Value one = maker.graph().dict();
        for (const auto& [member, from] : members) {
            const SourceObject& object = *from.second;
            if (member == kShardingKey || object.file->root().size() == 0)
                continue;
            SHARDLENS_ASSIGN(const Value value, maker.tree().import(object.file, object.file->root().at(0)));
            maker.graph().set(one, member, value);
        }
        maker.graph().set(one, kShardingKey, maker.graph().text(kReshardable));
        made.emplace_back(number, one);
    }
    if (made.size() == 1)
        return made.front().second;
    const Value all = maker.graph().dict();
    for (const auto& [number, one] : made)
        maker.graph().set(all, maker.graph().integer(static_cast<std::int64_t>(number)), one);
    return all;
}

Result<Value> TargetCommon::optimizer(TargetFileMaker& maker, const std::optional<TargetStep>& step)
{
    const Value had = m_source.file ? m_source.root.find("optimizer") : Value{};
    if (m_source.becomesReshardable())
        return optimizerOfObjects(maker);
    if (m_source.kind == TargetSource::Kind::TorchDist)
        return had ? maker.tree().import(m_source.file, had) : Result<Value>(Value{});
    if (m_source.kind == TargetSource::Kind::RankFiles && had.isMapping())
        return optimizerOfRanks(maker, had, step);
    if (m_source.kind == TargetSource::Kind::RankFiles && had.isSequence()) { // of several: by their number
        const Value all = maker.graph().dict();
        for (std::size_t i = 0; i < had.size(); ++i) {
            if (!had.at(i).isMapping())
                continue;
            SHARDLENS_ASSIGN(const Value one, optimizerOfRanks(maker, had.at(i), step));
            maker.graph().set(all, maker.graph().integer(static_cast<std::int64_t>(i)), one);
        }
        return all;
    }
    const Value inner = maker.graph().dict();
    SHARDLENS_ASSIGN(const Value state, stateOf(maker, step));
    maker.graph().set(inner, "state", state);
    maker.graph().set(inner, "param_groups", maker.graph().list());
    const Value out = maker.graph().dict();
    maker.graph().set(out, "optimizer", inner);
    return out;
}

Result<TargetTorchFile> TargetCommon::commonFile(const std::string& name, const std::optional<TargetStep>& step)
{
    if (m_source.file)
        SHARDLENS_TRY(withStorages(m_source.file, m_source.id, m_source.offset));
    for (const SourceObject& object : m_source.objects)
        if (isInCommon(object))
            SHARDLENS_TRY(withStorages(object.file, object.id, object.offset));
    TargetFileMaker maker(m_storages, m_keepObjects, name);
    const Value made = maker.graph().dict();
    for (std::size_t i = 0; i < m_source.root.size(); ++i) {
        const std::string key(m_source.root.keyAt(i).asText().value_or(""));
        const bool isOfRank = m_source.kind == TargetSource::Kind::RankFiles && (isModelKey(key) || key == "rng_state");
        if (key == "optimizer" || key == "content_metadata" || isOfRank) {
            if (key == "rng_state")
                m_dropped.insert(key);
            continue;
        }
        SHARDLENS_ASSIGN(const Value value, key == "args" ? arguments(maker, m_source.root.valueAt(i)) : maker.tree().import(m_source.file, m_source.root.valueAt(i)));
        maker.graph().set(made, key, value);
    }
    if (!m_source.root.find("checkpoint_version"))
        maker.graph().set(made, "checkpoint_version", maker.graph().real(3.0));
    if (!m_source.root.find("iteration"))
        maker.graph().set(made, "iteration", maker.graph().integer(0));
    SHARDLENS_ASSIGN(const Value content, contentMetadata(maker));
    if (content)
        maker.graph().set(made, "content_metadata", content);
    if (m_hasStates) {
        SHARDLENS_ASSIGN(const Value states, optimizer(maker, step));
        if (states)
            maker.graph().set(made, "optimizer", states);
    }
    return std::move(maker).finish(made, m_leftOut);
}

} // namespace shardlens::torch_dist
