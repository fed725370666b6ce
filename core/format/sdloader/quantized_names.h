#pragma once

#include "core/model/shape.h"

#include <array>
#include <cstddef>
#include <cstdint>
#include <string_view>

namespace shardlens::sdloader {

// Rows of the loader's table of scales (formats/deepspeed.md §17), and what lies beside the module where its weights are quantized.
constexpr std::size_t kScaleRows = 4;
constexpr std::array<std::string_view, kScaleRows> kScaleKinds{"attention.query_key_value.weight", "attention.dense.weight", "mlp.dense_h_to_4h.weight", "mlp.dense_4h_to_h.weight"};
constexpr std::array<bool, kScaleRows> kJoinedByColumns{false, true, false, true};

constexpr std::string_view kScalesKey = "quantization_scales";
constexpr std::string_view kMergeCountKey = "quantize_merge_count";
constexpr std::string_view kLayoutKey = "quantization_layout"; // ours: what the scales do not say, {groups, mlp_extra_grouping, cuts, rules}
constexpr std::string_view kGroupsKey = "groups";
constexpr std::string_view kExtraGroupingKey = "mlp_extra_grouping";
constexpr std::string_view kCutsKey = "cuts";
constexpr std::string_view kRulesKey = "rules"; // id of those that files were joined or cut by

// The row of the scales that a weight's are in; kScaleRows: it is none that is quantized.
[[nodiscard]] constexpr std::size_t scaleRowOf(std::string_view name)
{
    std::size_t row = 0;
    while (row < kScaleRows && name.find(kScaleKinds[row]) == std::string_view::npos)
        ++row;
    return row;
}

// Whether the loader takes a weight of that shape for an MLP's, and gives it twice the groups: whatever its name is. `files`: that are joined.
[[nodiscard]] inline bool looksLikeMlp(ShapeView shape, std::uint64_t targetRanks, std::uint64_t files)
{
    if (shape.size() != 2 || shape[0] == 0 || shape[1] == 0)
        return false;
    const auto is = [&](std::uint64_t a, std::uint64_t b) { return static_cast<double>(targetRanks * a * files) / static_cast<double>(b) == 4; };
    return is(shape[0], shape[1]) || is(shape[1], shape[0]);
}

} // namespace shardlens::sdloader
