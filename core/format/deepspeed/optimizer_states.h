#pragma once

#include "core/format/deepspeed/flat_vector.h"
#include "core/format/deepspeed/moe_groups.h"

#include <functional>
#include <string>
#include <vector>

namespace shardlens::deepspeed {

// One optimizer state of one flat group (of a ZeRO-3 sub-group): a vector cut over the ranks, or one number for the whole group.
struct GroupState {
    std::string name; // "exp_avg", "step"
    bool isScalar = false;
    FlatVector vector;              // unless isScalar
    CheckpointBuilder::Placement scalar; // of the number, if isScalar
    DType scalarDType = DType::F32;
};

// The state dictionary of a group on a rank; absent where there is none.
using StateOfRank = std::function<pickle::Value(std::uint32_t rank)>;
// A `step` that lies elsewhere (param_groups[g]["step"], base_optimizer_state_step); absent where there is none.
using StepOfRank = std::function<pickle::Value(std::uint32_t rank)>;

// What a vector must be to be laid out like the masters of its group.
struct VectorBounds {
    std::uint64_t leastTotal = 0; // elements that the parameters take
    std::uint64_t mostPerRank = 0; // the padded partition
};

// Every state of a group, in the order of the first rank's dictionary. A state that is neither as long as the partition nor one number
// (worker errors of 1-bit optimizers …) is left out and said. Python numbers become inline I64 or F64.
// `ranks` share the group; where none of their files is there, the names and dtypes are those of the run's first.
[[nodiscard]] Result<std::vector<GroupState>> statesOfGroup(Run& run, std::map<std::uint32_t, TorchPieces>& pieces, const std::vector<std::uint32_t>& ranks,
                                                            const StateOfRank& stateOf, const StepOfRank& stepOf, VectorBounds bounds);

// Adds NAME/STATE with shape [] for a scalar state of a parameter.
Status addScalarState(Run& run, const std::string& parameter, const GroupState& state);
// The tensor `parameter`/`state` of a vector's dtype; the caller adds its pieces.
[[nodiscard]] Result<TensorId> stateTensor(Run& run, const ModelParameter& parameter, const GroupState& state);
// A Python number or a 0-dim tensor as a placement; nothing where it is neither.
[[nodiscard]] Result<std::optional<GroupState>> scalarState(Run& run, TorchPieces& pieces, const RankFile& file, const std::string& name, pickle::Value value, HolderId holder);

} // namespace shardlens::deepspeed
