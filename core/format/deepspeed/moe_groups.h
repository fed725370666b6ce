#pragma once

#include "core/format/deepspeed/run.h"

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace shardlens::deepspeed {

// What a stored parameter is in the whole model: a tensor, or with AutoEP a part of one, from `firstValue` on.
struct ModelParameter {
    std::string name;
    Shape shape;                  // of the whole tensor
    std::uint64_t count = 0;      // elements of the part
    std::uint64_t firstValue = 0;

    [[nodiscard]] bool isFirst() const { return firstValue == 0; }
};
// Of expert-parallel rank `expertRank`; of a parameter of no expert, itself.
[[nodiscard]] ModelParameter modelParameter(const Run& run, const ParameterShape& stored, std::uint32_t expertRank);
// The tensor that a parameter is or is a part of; made when its first part comes. Corrupt: parts of different dtypes.
[[nodiscard]] Result<TensorId> tensorOfParameter(Run& run, const ModelParameter& parameter, RoleId role, DType dtype, Combine combine, bool moduleCopy);

// A flat vector of a group as the ranks that share it cut it: all ranks, or those that hold the same experts (formats/deepspeed.md §10.3).
struct FlatGroup {
    std::size_t index = 0;              // of param_shapes and of the optimizer's groups
    std::vector<std::uint32_t> ranks;   // in the order of their parts
    std::vector<ModelParameter> parameters; // of run.groups[index]
    std::string title;                  // "group 2, expert rank 1"
};

// The expert-parallel size of a group that holds experts; nothing for another group. Refused: experts and other parameters in one group, sizes that contradict
// each other. Without optimizer files it is not known, and nothing.
[[nodiscard]] Result<std::optional<std::uint32_t>> expertSizeOf(const Run& run, std::size_t group);
// E of the optimizer's own name of a group, "ep_size_E"; nothing where it has none.
[[nodiscard]] std::optional<std::uint32_t> namedExpertSize(pickle::Value paramGroup);

// Every vector of every group.
[[nodiscard]] Result<std::vector<FlatGroup>> flatGroupsOf(const Run& run);

} // namespace shardlens::deepspeed
