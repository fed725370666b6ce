#include "core/layout/megatron_arguments.h"

#include <fmt/format.h>

#include <cmath>
#include <string>

namespace shardlens {
namespace {

bool isTrueFact(const Facts& facts, const char* name)
{
    const auto at = facts.find(name);
    return at != facts.end() && at->second == "true";
}

} // namespace

std::optional<std::string> factText(pickle::Value value)
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

Facts megatronFacts(pickle::Value args)
{
    Facts out;
    const pickle::Value state = args.state().isMapping() ? args.state() : args;
    for (std::size_t i = 0; i < state.size(); ++i)
        if (const auto name = state.keyAt(i).asText())
            if (auto text = factText(state.valueAt(i)))
                out.insert_or_assign(std::string(*name), std::move(*text));
    out["swiglu"] = isTrueFact(out, "swiglu") || isTrueFact(out, "gated_linear_unit") || isTrueFact(out, "quick_geglu") ? "true" : "false";
    const auto heads = factNumber(out, "mamba_num_heads");
    const auto headDim = factNumber(out, "mamba_head_dim");
    if (heads && headDim)
        out["mamba_d_inner"] = std::to_string(*heads * *headDim);
    return out;
}

bool hasTiedEmbedding(const Facts& facts)
{
    return !isTrueFact(facts, "untie_embeddings_and_output_weights");
}

std::optional<std::uint64_t> factNumber(const Facts& facts, std::string_view name)
{
    const auto at = facts.find(name);
    if (at == facts.end() || at->second.empty() || at->second.find_first_not_of("0123456789") != std::string::npos || at->second.size() > 12)
        return std::nullopt;
    const std::uint64_t number = std::stoull(at->second);
    return number == 0 ? std::nullopt : std::optional(number);
}

} // namespace shardlens
