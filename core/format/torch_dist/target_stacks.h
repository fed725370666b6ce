#pragma once

#include "core/format/torch_dist/target_names.h"
#include "core/layout/rule_set.h"
#include "core/model/checkpoint.h"

#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <vector>

namespace shardlens::torch_dist {

// A tensor of the source that is to be written, and what it is there.
struct TargetTensor {
    TensorId tensor{};
    DType dtype{};      // written
    std::string prefix; // before the model's part of the key: "", "optimizer.state.exp_avg."
    TargetName name;
};

// Values of one source tensor, in a chunk.
struct CellRun {
    TensorId tensor{};
    std::uint64_t firstValue = 0;
    std::uint64_t values = 0;
};

// A tensor of the container.
struct TargetKey {
    std::string key;
    DType dtype{};
    Shape shape; // with the stacked axes
    bool stacksLayers = false;
    // Of each layer, or one: what it holds, in row-major order.
    std::vector<std::vector<CellRun>> layers;
};

// Where a checkpoint may stack its layers.
using MayStack = std::function<bool(const std::string& layers)>;

// Puts tensors together as the format has them: layers that are all alike in one stack, experts of a layer in one, Mamba's projections in parts
// (formats/megatron.md §6.4). In the order of `tensors`. Refused: two tensors under one key; a projection whose parts no fact gives the sizes of.
[[nodiscard]] Result<std::vector<TargetKey>> stackTensors(const Checkpoint& source, const std::vector<TargetTensor>& tensors, const Facts& facts, const MayStack& mayStack);

// The names of stacks of layers that come out, by what stands before the number, and their lengths: for objects that stand beside them.
[[nodiscard]] std::map<std::string, std::uint64_t> stackedLayers(const std::vector<TargetKey>& keys);

} // namespace shardlens::torch_dist
