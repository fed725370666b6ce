#include "core/format/megatron/optimizer_states.h"

#include "core/base/checked.h"
#include "core/base/text.h"

#include <fmt/format.h>

#include <algorithm>

namespace shardlens::megatron {
namespace {

// Ranks that share a buffer. Those of experts share it with fewer (§8.2).
std::optional<std::uint64_t> dataParallelOf(const RankSet& set, bool ofExperts)
{
    const Sizes& sizes = set.sizes;
    const std::uint64_t model = std::uint64_t{sizes.tp} * sizes.pp;
    const auto world = factNumber(set.facts, "world_size");
    auto ranks = factNumber(set.facts, "data_parallel_size");
    if (ranks)
        ranks = checkedMul(*ranks, factNumber(set.facts, "context_parallel_size").value_or(1));
    else if (world)
        ranks = *world / model;
    if (ofExperts) {
        const auto all = world ? world : ranks ? checkedMul(*ranks, model) : std::nullopt;
        const auto each = checkedMul(factNumber(set.facts, "expert_tensor_parallel_size").value_or(sizes.tp), std::uint64_t{sizes.ep} * sizes.pp);
        ranks = all && each ? std::optional(*all / *each) : std::nullopt;
    }
    return ranks && *ranks > 0 ? ranks : std::nullopt;
}

std::optional<bool> flagFact(const Facts& facts, const char* name)
{
    const auto at = facts.find(name);
    if (at == facts.end() || (at->second != "true" && at->second != "false"))
        return std::nullopt;
    return at->second == "true";
}

} // namespace

bool isExpertParameter(const RuleSet& rules, std::string_view name)
{
    const auto isGrouped = [&](const GroupedExperts& grouped) { return grouped.of.search(name); };
    return expertOf(rules, name).has_value() || std::any_of(rules.groupedExperts.begin(), rules.groupedExperts.end(), isGrouped);
}

bool isSharedParameter(const RuleSet& rules, std::uint32_t stages, std::string_view name)
{
    return stages > 1 && std::any_of(rules.tied.begin(), rules.tied.end(), [&](const TiedRule& tied) { return tied.copy == name || tied.original == name; });
}

bool isTrained(const RuleSet& rules, std::string_view name)
{
    return std::none_of(rules.buffers.begin(), rules.buffers.end(), [&](const Regex& buffer) { return buffer.search(name); });
}

bool isHalfPrecision(DType dtype)
{
    return dtype == DType::F16 || dtype == DType::BF16;
}

bool isDecayed(std::size_t dimensions, std::string_view name)
{
    return dimensions > 1 && !name.ends_with(".bias");
}

Result<std::vector<Trained>> trainedOf(const RankSet& set, const Rank& rank)
{
    std::vector<Trained> out;
    std::set<std::tuple<std::size_t, std::uint64_t, std::uint64_t>> places;
    const auto& entries = set.entries.at(&rank);
    for (std::size_t i = 0; i < entries.size(); ++i) {
        const Entry& entry = entries[i];
        if (!isTrained(set.rules, entry.local))
            continue;
        SHARDLENS_ASSIGN(const TorchTensor tensor, rank.content.torch->tensorOf(rank.content.values[entry.value]));
        const std::uint64_t count = elementCount(tensor.shape).value_or(0);
        if (count != 0 && !places.emplace(tensor.storage, tensor.offsetBytes, count).second)
            continue;
        out.push_back({i, entry.chunk, tensor.dtype, tensor.shape, count, isExpertParameter(set.rules, entry.local),
                       isSharedParameter(set.rules, set.sizes.pp, entry.local)});
    }
    std::stable_sort(out.begin(), out.end(), [](const Trained& a, const Trained& b) { return a.chunk < b.chunk; });
    return out;
}

BufferArguments bufferArguments(const RankSet& set, bool ofExperts, bool isFirstChunk)
{
    const auto untied = flagFact(set.facts, "untie_embeddings_and_output_weights");
    return {dataParallelOf(set, ofExperts), factNumber(set.facts, "ddp_bucket_size"), flagFact(set.facts, "overlap_grad_reduce"), isFirstChunk,
            untied ? std::optional(!*untied) : std::nullopt};
}

Entry stateEntry(const Entry& parameter, TensorId state)
{
    Entry out = parameter;
    out.tensor = indexOf(state);
    out.isState = true;
    return out;
}

Role stateRole(std::string_view name, DType dtype)
{
    if (name == "param")
        return {RoleKind::Weight, dtype == DType::F32 ? "fp32 master" : "master"};
    return {RoleKind::OptimizerState, std::string(name)};
}

Status readOptimizers(RankSet& set, JobContext& job)
{
    if (set.folder.hasDistributedOptimizer)
        return readFlatStates(set, job);
    return readPlainStates(set, job);
}

} // namespace shardlens::megatron
