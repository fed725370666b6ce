#pragma once

#include "core/base/regex.h"
#include "core/base/result.h"
#include "core/model/checkpoint.h"

#include <optional>
#include <string>
#include <vector>

namespace shardlens {

// conformance/README.md, "What a name stands for".
enum class Select : std::uint8_t { Weights, Module, Optimizer, All };

[[nodiscard]] std::optional<Select> selectByName(std::string_view name);
[[nodiscard]] const char* nameOf(Select select);

struct SelectionOptions {
    Select select = Select::Weights;
    std::vector<Regex> include; // empty: everything; else a name must match one
    std::vector<Regex> exclude;
    bool partsPass = false; // parts of quantized weights, whatever they are called: patterns have chosen among the weights
};

// A tensor under the name it has outside: tied parameters appear once a name.
struct SelectedTensor {
    std::string name;
    TensorId tensor;
    bool isAlias = false; // the name is a tied one
    bool repeats = false; // an entry before it has the same tensor; where patterns leave the first name out, an alias does not repeat
};

// Model order, aliases after the tensor they repeat. Patterns are searched in the outside name.
[[nodiscard]] std::vector<SelectedTensor> selectTensors(const Checkpoint& checkpoint, const SelectionOptions& options);

// The lost tensors that these options would have taken, by index.
[[nodiscard]] std::vector<std::size_t> selectLost(const Checkpoint& checkpoint, const SelectionOptions& options);

} // namespace shardlens
