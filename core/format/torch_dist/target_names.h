#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace shardlens::torch_dist {

// Where a tensor of a model stands in its layers and experts, by its name in the whole model (formats/megatron.md §4.5, §5.6, §6.4).
struct TargetName {
    std::string layers;                      // "decoder.layers."; empty outside of layers
    std::optional<std::uint64_t> layer{};
    std::string tail;                        // behind the layer's number: "mlp.experts.experts.linear_fc1.weight"
    std::optional<std::size_t> expertAt{};   // in the tail: where the expert's number would stand
    std::optional<std::uint64_t> expert{};

    // The key of a stack, or with numbers where something is not stacked. `prefix`: "optimizer.state.exp_avg."
    [[nodiscard]] std::string key(bool stacksLayers, bool stacksExperts) const;
    // The name under which the tensor is read back.
    [[nodiscard]] std::string name() const { return key(false, false); }
};

// Every spelling of an expert's matrices becomes the one of the format: ".experts.local_experts.3.linear_fc1.weight", ".experts.linear_fc1.weight3".
[[nodiscard]] TargetName targetNameOf(std::string_view name);

// Norms have the names of Transformer Engine's fused modules, whatever the model was built of (§6.4): in a layer of Megatron's own modules "input_layernorm.weight"
// is "self_attention.linear_qkv.layer_norm_weight", and "pre_mlp_layernorm.weight" is "mlp.linear_fc1.layer_norm_weight", before experts too. `has` says whether the
// layer has a tensor of that tail.
template <typename Has>
[[nodiscard]] std::string fusedNormTail(std::string tail, const Has& has)
{
    struct Norm {
        std::string_view own;
        std::string_view fused;
    };
    constexpr Norm kNorms[] = {{"input_layernorm.", "self_attention.linear_qkv.layer_norm_"}, {"pre_mlp_layernorm.", "mlp.linear_fc1.layer_norm_"}};
    for (const Norm& norm : kNorms)
        if (tail.starts_with(norm.own) && has("input_layernorm.weight") && has("self_attention.linear_qkv.weight")) // else it is fused, or never is
            return std::string(norm.fused) + tail.substr(norm.own.size());
    return tail;
}

// Whether some of the names are those of a megatron-core model.
[[nodiscard]] bool areMegatronNames(const std::vector<std::string>& names);

} // namespace shardlens::torch_dist
