#include "core/format/megatron/rank_set.h"

#include "core/base/text.h"
#include "core/format/megatron/optimizer_states.h"

#include <fmt/format.h>

#include <cmath>

namespace shardlens::megatron {
namespace {

using pickle::Value;

std::optional<std::string> factText(Value value)
{
    if (const auto flag = value.kind() == pickle::Kind::Bool ? value.asBool() : std::nullopt)
        return std::string(*flag ? "true" : "false");
    if (const auto number = value.asInt())
        return std::to_string(*number);
    if (const auto real = value.asFloat())
        return std::floor(*real) == *real && std::abs(*real) < 1e15 ? fmt::format("{:.0f}", *real) : fmt::format("{}", *real);
    if (const auto text = value.asText())
        return std::string(*text);
    return std::nullopt;
}

void readArguments(RankSet& set, Value args)
{
    const Value state = args.state().isMapping() ? args.state() : args;
    for (std::size_t i = 0; i < state.size(); ++i)
        if (const auto name = state.keyAt(i).asText())
            if (auto text = factText(state.valueAt(i)))
                set.facts.insert_or_assign(std::string(*name), std::move(*text));
}

// What follows from the arguments: gating has several spellings, Mamba's widths are products.
void deriveFacts(RankSet& set)
{
    Facts& facts = set.facts;
    const auto isTrue = [&](const char* name) {
        const auto at = facts.find(name);
        return at != facts.end() && at->second == "true";
    };
    facts["swiglu"] = isTrue("swiglu") || isTrue("gated_linear_unit") || isTrue("quick_geglu") ? "true" : "false";
    const auto heads = factNumber(facts, "mamba_num_heads");
    const auto headDim = factNumber(facts, "mamba_head_dim");
    if (heads && headDim)
        facts["mamba_d_inner"] = std::to_string(*heads * *headDim);
    set.isTied = !isTrue("untie_embeddings_and_output_weights");
}

// Shapes win over arguments (§5.5).
void proveGating(RankSet& set, const Rank& rank)
{
    if (!set.rules.gating)
        return;
    const Checkpoint& checkpoint = *rank.content.checkpoint;
    std::map<std::string, Shape, std::less<>> shapes;
    for (std::size_t i = 0; i < checkpoint.tensors().size(); ++i)
        shapes.emplace(checkpoint.parameterOf(idAt<TensorId>(i)), checkpoint.tensors()[i].shape);
    const auto found = findGating(*set.rules.gating, shapes);
    if (!found)
        return;
    std::string& said = set.facts[set.rules.gating->fact];
    const std::string proven = found->isGated ? "true" : "false";
    if (said != proven)
        set.builder.addFinding({Severity::Info, "gated-mlp",
                                fmt::format("The arguments say that the MLP is {}gated, and its shapes prove that it is {}: {} has {} rows, {} has {} columns. The shapes count.",
                                            said == "true" ? "" : "not ", found->isGated ? "gated" : "not", printable(found->first), found->rows, printable(found->second), found->columns),
                                kNoTensor, kNoFile, std::nullopt});
    said = proven;
}

// A whole number that the run says and that is not 0, as text.
std::optional<std::string> saidFact(const Facts& facts, const char* name)
{
    const auto at = facts.find(name);
    return at == facts.end() || at->second == "0" || at->second == "false" ? std::nullopt : std::optional(at->second);
}

} // namespace

std::optional<std::uint64_t> factNumber(const Facts& facts, std::string_view name)
{
    const auto at = facts.find(name);
    if (at == facts.end() || at->second.empty() || at->second.find_first_not_of("0123456789") != std::string::npos || at->second.size() > 12)
        return std::nullopt;
    const std::uint64_t number = std::stoull(at->second);
    return number == 0 ? std::nullopt : std::optional(number);
}

Status checkExpertArguments(const RankSet& set)
{
    bool hasExperts = false;
    for (const auto& [rank, entries] : set.entries)
        for (const Entry& entry : entries)
            hasExperts = hasExperts || isExpertParameter(set.rules, entry.local);
    const auto over = saidFact(set.facts, "expert_tensor_parallel_size");
    if (hasExperts && over && *over != std::to_string(set.sizes.tp))
        return Error{ErrorCode::Unsupported, fmt::format("expert_tensor_parallel_size is {}, and tensor_model_parallel_size {}: experts that are cut otherwise than the rest of the model are "
                                                         "not read",
                                                         printable(*over), set.sizes.tp)};
    for (const char* name : {"moe_mlp_glu_interleave_size", "moe_shared_expert_glu_interleave_size"})
        if (const auto size = saidFact(set.facts, name)) // only mixtures of experts have them
            return Error{ErrorCode::Unsupported, fmt::format("{} is {}: rows of gate and up that alternate in blocks are not read", name, printable(*size))};
    return {};
}

void readFacts(RankSet& set)
{
    const Rank& first = *set.firstRead();
    const Value root = first.content.torch->root();
    readArguments(set, root.find("args"));
    deriveFacts(set);
    proveGating(set, first);
    set.facts["version"] = factText(root.find("checkpoint_version")).value_or("0");
}

} // namespace shardlens::megatron
