#pragma once

#include "core/encoding/torch_file.h"
#include "core/model/region.h"

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

namespace shardlens::dcp {

// A ShardedTensor or DTensor in a rank's file (formats/pytorch.md §5): the whole tensor's shape, what of it this file holds, and who holds the rest.
struct DistributedValue {
    struct Part {
        Box box;              // of the whole tensor
        pickle::Value tensor; // that holds it
    };
    struct Place {
        std::uint32_t rank = 0;
        Box box;
    };
    DType dtype{};
    Shape shape;
    std::vector<Part> parts;
    std::vector<Place> places;    // of the ranks that were asked about, as far as the value says it
    std::uint32_t worldSize = 0;  // 0: it does not say
};

// Whether a value is one of the two classes.
[[nodiscard]] bool isDistributed(pickle::Value value);
// Refused: partial sums (each rank holds a summand), meshes and placements that cannot be decoded. `rank`: whose file it is, by its name.
// `asked`: ranks whose part of the tensor is of interest, ascending.
[[nodiscard]] Result<DistributedValue> distributedValueOf(const TorchFile& file, pickle::Value value, std::uint32_t rank, std::span<const std::uint32_t> asked);

} // namespace shardlens::dcp
