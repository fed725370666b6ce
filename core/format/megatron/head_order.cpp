#include "core/format/megatron/head_order.h"

#include "core/base/text.h"

#include <fmt/format.h>

#include <algorithm>

namespace shardlens::megatron {
namespace {

// Rows [from, from + count) of the stored matrix are rows [to, to + count) of the ordered one.
struct RowRun {
    std::uint64_t from;
    std::uint64_t to;
    std::uint64_t count;
};

// Version 0 stores [part, head, element], version 1 [head, element, part].
std::vector<RowRun> rowRuns(bool isVersion0, std::uint64_t heads, std::uint64_t parts, std::uint64_t elements)
{
    std::vector<RowRun> out;
    for (std::uint64_t head = 0; head < heads; ++head)
        for (std::uint64_t part = 0; part < parts; ++part) {
            const std::uint64_t to = (head * parts + part) * elements;
            if (isVersion0) {
                out.push_back({(part * heads + head) * elements, to, elements});
                continue;
            }
            for (std::uint64_t element = 0; element < elements; ++element)
                out.push_back({(head * elements + element) * parts + part, to + element, 1});
        }
    return out;
}

std::optional<std::uint64_t> headsOf(const RankSet& set)
{
    const auto at = set.facts.find("num_attention_heads");
    if (at == set.facts.end() || at->second.empty() || at->second.size() > 9 || at->second.find_first_not_of("0123456789") != std::string::npos)
        return std::nullopt;
    return std::stoull(at->second);
}

Result<std::vector<RowRun>> runsOf(const RankSet& set, const Shape& shape, std::uint64_t parts)
{
    const auto heads = headsOf(set);
    if (!heads || *heads == 0 || *heads % set.sizes.tp != 0)
        return Error{ErrorCode::Refused, "its rows are in the order of an old version, and the arguments do not say how many attention heads a rank has"};
    const std::uint64_t own = *heads / set.sizes.tp;
    if (shape.empty() || shape[0] % (own * parts) != 0)
        return Error{ErrorCode::Refused, fmt::format("{} rows are not {} heads of {} parts", shape.empty() ? 0 : shape[0], own, parts)};
    return rowRuns(set.facts.at("version") == "0", own, parts, shape[0] / (own * parts));
}

const HeadOrder* orderOf(const RuleSet& rules, const std::string& name)
{
    const auto known = std::find_if(rules.headOrders.begin(), rules.headOrders.end(), [&](const HeadOrder& order) { return order.of.search(name); });
    return known == rules.headOrders.end() ? nullptr : &*known;
}

Status addRuns(PieceImport& import, TensorId from, TensorId to, const Shape& shape, const std::vector<RowRun>& runs)
{
    for (const RowRun& run : runs) {
        Slab slab = wholeSlab(shape);
        slab.from.offset[0] = run.from;
        slab.to.offset[0] = run.to;
        slab.from.extent[0] = slab.to.extent[0] = run.count;
        SHARDLENS_TRY(import.addThrough(to, from, slab));
    }
    return {};
}

} // namespace

Result<CheckpointPtr> inHeadOrder(RankSet& set, Rank& rank)
{
    const CheckpointPtr& stored = rank.content.checkpoint;
    const std::string& version = set.facts.at("version");
    const bool isOld = version == "0" || version == "1";
    if (set.rules.headOrders.empty() || version == "2" || version == "3")
        return stored;
    std::optional<CheckpointBuilder> builder;
    std::optional<PieceImport> import;
    std::vector<Entry> kept;
    auto& entries = set.entries.at(&rank);
    for (Entry& entry : entries) {
        const Tensor tensor = stored->tensor(idAt<TensorId>(entry.tensor));
        const HeadOrder* order = orderOf(set.rules, entry.local);
        if (order == nullptr || (entry.isState && tensor.shape.empty())) { // a step has no rows
            kept.push_back(std::move(entry));
            continue;
        }
        if (!isOld)
            return Error{ErrorCode::Unsupported, fmt::format("checkpoint_version {} is not known: how the rows of {} lie cannot be told", printable(version), printable(entry.local))};
        if (set.sizes.chunks > 1)
            return Error{ErrorCode::Unsupported, "a virtual pipeline of a checkpoint version below 2: the order of its fused rows is not defined"};
        if (!builder) {
            builder.emplace(*stored);
            import.emplace(PieceImport::within(*builder, *stored));
        }
        const auto runs = runsOf(set, tensor.shape, order->parts);
        if (!runs && entry.isState) {
            rank.lost.push_back({entry.global, RoleKind::OptimizerState,
                                 fmt::format("{} of {} in {}: {}.", printable(stored->roleOf(idAt<TensorId>(entry.tensor)).name), printable(entry.global),
                                             printable(rank.name), runs.error().text())});
            continue;
        }
        if (!runs)
            return Error(runs.error()).within(printable(entry.local));
        const TensorId to = builder->addTensor(tensor);
        SHARDLENS_TRY(addRuns(*import, idAt<TensorId>(entry.tensor), to, tensor.shape, *runs));
        entry.tensor = indexOf(to);
        kept.push_back(std::move(entry));
    }
    entries = std::move(kept);
    if (!builder)
        return stored;
    return std::move(*builder).finish();
}

} // namespace shardlens::megatron
