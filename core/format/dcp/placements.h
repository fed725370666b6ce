#pragma once

#include "core/base/result.h"
#include "core/model/region.h"

#include <cstdint>
#include <optional>
#include <vector>

namespace shardlens::dcp {

// How a DTensor lies over one dimension of its device mesh (formats/pytorch.md §5.2).
struct Placement {
    enum class Kind : std::uint8_t { Replicate, Shard, StridedShard, Partial };
    Kind kind = Kind::Replicate;
    std::size_t dim = 0;           // of the tensor; Shard, StridedShard
    std::uint64_t splitFactor = 1; // StridedShard
};

// Which mesh dimensions cut a dimension of the tensor, in the order in which they are applied.
struct ShardOrder {
    std::size_t dim = 0;
    std::vector<std::size_t> meshDims;
};

// The order that placements mean: plain shards from left to right, strided ones behind what their split factor stands for (§9.7). Refused where no place fits
// a split factor, or a placement cuts a dimension that the tensor has not.
[[nodiscard]] Result<std::vector<ShardOrder>> shardOrderOf(const std::vector<Placement>& placements, const std::vector<std::uint64_t>& meshShape, std::size_t rank);

// The box of the tensor that the process at `coordinate` of the mesh holds: chunks of ceil(size / n), later ones shorter or empty (§9.7). An empty one has
// extent 0 along its dimension.
[[nodiscard]] Box localBox(ShapeView shape, const std::vector<ShardOrder>& order, const std::vector<std::uint64_t>& meshShape, const std::vector<std::uint64_t>& coordinate);

} // namespace shardlens::dcp
