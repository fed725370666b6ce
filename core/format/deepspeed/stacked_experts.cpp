#include "core/format/deepspeed/stacked_experts.h"

#include "core/base/text.h"

#include <fmt/format.h>

namespace shardlens::deepspeed {
namespace {

constexpr std::uint64_t kMaxStackedExperts = 1u << 16;

// The experts of each rank, where they are listed, must be those that follow its number.
Status checkPlacement(pickle::Value layer, const std::string& prefix, const ExpertModule& module)
{
    const pickle::Value ranks = layer.find("expert_placement").find("ranks");
    for (std::size_t i = 0; i < ranks.size(); ++i) {
        const std::uint64_t rank = countOf(ranks.at(i).find("rank")).value_or(i);
        const pickle::Value experts = ranks.at(i).find("experts");
        bool inOrder = experts.size() == module.localExperts;
        for (std::size_t e = 0; e < experts.size() && inOrder; ++e)
            inOrder = countOf(experts.at(e)) == rank * module.localExperts + e;
        if (!inOrder)
            return Error{ErrorCode::Unsupported, fmt::format("AutoEP has placed the experts of {} in another order than their numbers (expert_placement), which is not read", printable(prefix))};
    }
    return {};
}

Status addLayer(Run& run, pickle::Value layer)
{
    const std::string prefix(layer.find("expert_key_prefix").asText().value_or(""));
    const auto experts = countOf(layer.find("num_experts"));
    const auto local = countOf(layer.find("num_local_experts"));
    const auto size = countOf(layer.find("ep_size"));
    const auto number = countOf(layer.find("moe_layer_id"));
    if (prefix.empty() || !experts || !local || !size || !number || *experts == 0 || *experts > kMaxStackedExperts || *number > kMaxStackedExperts)
        return Error{ErrorCode::Corrupt, "ds_autoep_layers has an entry without expert_key_prefix, num_experts, num_local_experts, ep_size or moe_layer_id"};
    if (*size == 0 || *experts % *size != 0 || *experts / *size != *local || run.world % *size != 0)
        return Error{ErrorCode::Corrupt, fmt::format("ds_autoep_layers: {} of {} cannot be {} on each of {}", plural(*experts, "expert", "experts"), printable(prefix), groupedText(*local),
                                                     plural(*size, "expert-parallel rank", "expert-parallel ranks"))};
    const ExpertModule module{static_cast<std::uint32_t>(*local), static_cast<std::uint32_t>(*size), static_cast<std::uint32_t>(*number), true};
    SHARDLENS_TRY(checkPlacement(layer, prefix, module));
    if (!run.expertModules.emplace(prefix, module).second)
        return Error{ErrorCode::Corrupt, fmt::format("ds_autoep_layers names {} twice", printable(prefix))};
    return {};
}

} // namespace

Status findStackedExperts(Run& run)
{
    const pickle::Value root = run.model.root();
    const pickle::Value current = root.find("ds_autoep_layers");
    const pickle::Value layers = current.size() > 0 ? current : root.find("autoep_layers");
    if (layers.size() == 0)
        return {};
    if (!root.find("folding").isNone())
        return Error{ErrorCode::Unsupported, "an AutoEP run with tensor parallelism (folding), which is not read"};
    if (run.stage == Stage::None)
        return Error{ErrorCode::Unsupported, "an AutoEP run without ZeRO, which is not read"};
    for (std::size_t i = 0; i < layers.size(); ++i)
        SHARDLENS_TRY(addLayer(run, layers.at(i)));
    return {};
}

const ExpertModule* stackedModuleOf(const Run& run, std::string_view name)
{
    const std::size_t dot = name.rfind('.');
    const auto module = dot == std::string_view::npos ? run.expertModules.end() : run.expertModules.find(name.substr(0, dot));
    return module != run.expertModules.end() && module->second.stacked ? &module->second : nullptr;
}

} // namespace shardlens::deepspeed
