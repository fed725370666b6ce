#pragma once

#include "core/format/deepspeed/module_states.h"
#include "core/format/deepspeed/run.h"
#include "core/model/checkpoint.h"

#include <map>
#include <memory>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

namespace shardlens::deepspeed {

// The tensors of one parameter in the opened run.
struct ParameterTensors {
    std::optional<TensorId> master; // what the optimizer trains
    std::optional<TensorId> module; // what the module held: the copy, a frozen parameter, a buffer
    std::map<std::string, TensorId, std::less<>> states;
};
using TensorsByName = std::unordered_map<std::string, ParameterTensors>;
[[nodiscard]] TensorsByName tensorsByName(const Checkpoint& checkpoint);

// A parameter of an optimizer group that is to be cut anew.
struct TrainedParameter {
    std::string name; // in the files of a rank: experts under their local numbers
    Shape shape;
    std::uint64_t count = 0;
    const ParameterTensors* tensors = nullptr; // of a TensorsByName that outlives it; master is set
};

// One state of a group: of its value only what is no vector counts, and is taken over.
struct TrainedState {
    std::string name;
    pickle::Value value;
    std::shared_ptr<const TorchFile> file; // that the value is of
};

// One group of the torch optimizer, parameters in its own order (formats/deepspeed.md §6.1): round robin is undone.
struct TrainedGroup {
    std::vector<TrainedParameter> parameters;
    std::vector<std::vector<TrainedParameter>> experts; // of each expert-parallel rank; `parameters` are the first's. Empty where the group holds none
    std::vector<TrainedState> states; // of the first rank
    bool hasState = false;            // false where no step was taken
    pickle::Value paramGroup; // its row of param_groups; absent in elastic files
};

// What a rank of a run holds a part of: the parameters, how many ranks share them, and its place among these.
struct GroupShare {
    const std::vector<TrainedParameter>* parameters = nullptr; // of the group
    std::uint32_t world = 1;
    std::uint32_t place = 0;
};
// `world` ranks in all, a multiple of the group's expert-parallel size.
[[nodiscard]] GroupShare shareOf(const Run& run, const TrainedGroup& group, std::uint32_t world, std::uint32_t rank);

// Groups of a run of stages 1 to 3. Refused: a parameter without a master.
[[nodiscard]] Result<std::vector<TrainedGroup>> trainedGroups(const Run& run, const TensorsByName& tensors);

// Whether round_robin_gradients permutes the parameters of a group: a matter of stage 2 only (§6.1).
[[nodiscard]] bool isRoundRobin(const Run& run, Stage stage);
// Round robin: j, j + W, j + 2W … for each j below W. The result lists positions in the group's own order.
[[nodiscard]] std::vector<std::size_t> roundRobinOrder(std::size_t count, std::uint32_t world);

// A flat vector of a group on `world` ranks: stages 1, 2 and BF16_Optimizer (§6.1).
struct FlatCut {
    std::vector<std::uint64_t> begins;   // of each parameter
    std::vector<std::uint64_t> paddings; // after each parameter
    std::uint64_t total = 0;             // T, those paddings included
    std::uint64_t partition = 0;         // P
    std::uint32_t world = 1;

    // Elements of rank's partition that are no padding at the end.
    [[nodiscard]] std::uint64_t used(std::uint32_t rank) const;
};
// `alignTo` elements that each parameter but the last is filled up to; 1: none.
[[nodiscard]] FlatCut cutFlat(const std::vector<TrainedParameter>& parameters, std::uint32_t world, std::uint64_t alignTo);

// sub_group_size of the configuration, or DeepSpeed's default.
[[nodiscard]] std::uint64_t subGroupSizeOf(const Run& run);

// ZeRO-3: runs of parameters whose slots of ceil(N / W) elements lie one behind another (§7.2).
struct SubGroup {
    std::size_t group = 0;      // of the optimizer
    std::size_t first = 0;      // parameter of the group
    std::size_t last = 0;       // past the last
    std::uint64_t length = 0;   // elements a rank
};
[[nodiscard]] std::vector<SubGroup> cutIntoSubGroups(const std::vector<TrainedGroup>& groups, std::uint32_t world, std::uint64_t subGroupSize);

} // namespace shardlens::deepspeed
