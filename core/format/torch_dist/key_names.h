#pragma once

#include "core/encoding/dcp_metadata.h"

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace shardlens::torch_dist {

// What a key of the container stands for (formats/megatron.md §6.4, §6.6, §6.8).
struct Key {
    enum class Kind : std::uint8_t {
        Model,  // a tensor of the model
        State,  // of a parameter's optimizer: "optimizer.state.exp_avg.K"
        Buffer, // of an optimizer, and of no single parameter: "optimizer.distributed.dp_group_idx_0.…"
    };
    Kind kind = Kind::Model;
    std::string model; // Model, State: "decoder.layers.mlp.linear_fc1.weight", without what wrappers put before it
    std::string state; // State: "exp_avg"
};
// `prefix` is what stands before the model's own names (modelPrefixOf).
[[nodiscard]] Key keyOf(std::string_view key, std::string_view prefix);
// "model.", "module." …: what others than Megatron's own training loop put before the names of the model; empty where there is none.
[[nodiscard]] std::string modelPrefixOf(const DcpMetadata& metadata);
// Whether a state is the parameter's fp32 master.
[[nodiscard]] bool isMasterState(std::string_view state);

// "decoder.layers.mlp.linear_fc1._extra_state/shard_3_24": an object of its own (§6.6).
struct ObjectKey {
    std::string key;
    std::vector<std::uint64_t> offset;
    std::vector<std::uint64_t> shape; // one shorter than the offset where old code wrote it
};
[[nodiscard]] std::optional<ObjectKey> objectKeyOf(std::string_view key);
[[nodiscard]] std::string objectKeyText(std::string_view key, const std::vector<std::uint64_t>& offset, const std::vector<std::uint64_t>& shape);
constexpr std::string_view kExtraState = "_extra_state";
constexpr std::string_view kCommonState = "common_state";

// A name of the model as keys have it: layers, and experts, may be stacked along the first axes and have no number (§6.4).
struct ModelName {
    std::string text;                      // "decoder.layers.mlp.experts.experts.linear_fc1.weight"
    std::optional<std::size_t> layerAt{};  // where the layer's number would stand; nothing: no stack of layers
    std::optional<std::size_t> expertAt{}; // where the expert's number would stand

    [[nodiscard]] std::size_t stacked() const { return (layerAt ? 1u : 0u) + (expertAt ? 1u : 0u); } // axes before those of the tensor itself
    [[nodiscard]] std::string_view layersOf() const { return std::string_view(text).substr(0, layerAt.value_or(0)); } // "decoder.layers."
    // The name of one tensor of the stack; the number of what is not stacked does not count.
    [[nodiscard]] std::string of(std::uint64_t layer, std::uint64_t expert) const;
};
[[nodiscard]] ModelName modelNameOf(std::string_view model);

// A tensor that is stored in parts along its first own axis: those of Mamba's projections, gate and up of single experts (§6.4).
struct PartName {
    std::string whole; // "…mixer.in_proj.weight"
    std::size_t part = 0;
};
[[nodiscard]] std::optional<PartName> partNameOf(std::string_view model);

} // namespace shardlens::torch_dist
