#pragma once

#include "core/model/checkpoint.h"

#include <cstdint>
#include <optional>
#include <string_view>
#include <vector>

namespace shardlens {

// What a checkpoint holds of one parameter, as far as pipeline layers need it.
struct ParameterUse {
    bool isModel = false;     // a weight, module copy or buffer of it is there
    bool isBuffer = false;    // nothing but a buffer
    bool isTrainable = false; // meaningful where the checkpoint tells, for parameters that are no buffers
    Shape shape;              // of its weight
    std::uint64_t elements = 0; // on one tensor-parallel rank
    std::uint64_t bytes = 0;    // of all its tensors
    std::vector<std::uint32_t> layerFiles; // numbers of the layer files that hold it, ascending
};

enum class TrainableFrom : std::uint8_t {
    Masters,   // a master or an optimizer state under the parameter's name
    Shapes,    // numbered optimizer states, in the order and with the shapes of the parameters
    Ambiguous, // as before, and the shapes fit in more than one way: the first is taken
    Nothing,   // nothing is stored that would tell
};

struct ParameterUses {
    std::vector<ParameterUse> parameters; // as Checkpoint::parameters()
    TrainableFrom trainableFrom = TrainableFrom::Nothing;
};

[[nodiscard]] ParameterUses parameterUsesOf(const Checkpoint& checkpoint);

// "…/layer_07-model_01-model_states.pt" is 7 (formats/deepspeed.md §11.3).
[[nodiscard]] std::optional<std::uint32_t> layerNumberOfFile(std::string_view name);

// All digits, and less than 10⁹.
[[nodiscard]] std::optional<std::uint32_t> wholeNumber(std::string_view text);

} // namespace shardlens
