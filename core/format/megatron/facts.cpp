#include "core/format/megatron/rank_set.h"

#include "core/base/text.h"
#include "core/format/megatron/optimizer_states.h"

#include <fmt/format.h>

namespace shardlens::megatron {
namespace {

using pickle::Value;

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
    set.facts = megatronFacts(root.find("args"));
    set.isTied = hasTiedEmbedding(set.facts);
    proveGating(set, first);
    set.facts["version"] = factText(root.find("checkpoint_version")).value_or("0");
}

} // namespace shardlens::megatron
