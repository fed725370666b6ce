#pragma once

#include "core/model/checkpoint.h"

#include <cstdint>
#include <optional>
#include <string>

namespace shardlens::test {

// An invented run with computed sizes, no real files: a 7B transformer under ZeRO-2, the module copy F16 on rank 0 and three F32 states cut over the ranks.
struct AtlasSample {
    std::uint32_t ranks = 4;
    int layers = 32;
    std::uint64_t hidden = 4096;
    std::uint64_t inner = 11008;
    std::uint64_t vocabulary = 32000;
    std::optional<std::uint32_t> missingRank = std::nullopt; // its file is not there
};
[[nodiscard]] CheckpointPtr makeAtlasSample(const AtlasSample& sample = {});

// `ranks` files that look the same (replicated data-parallel ranks), with `tensors` matrices each.
[[nodiscard]] CheckpointPtr makeReplicatedSample(std::uint32_t ranks, std::size_t tensors);

// One file with `pieces` pieces of uneven sizes, for timing.
[[nodiscard]] CheckpointPtr makeCrowdedSample(std::size_t pieces, std::uint32_t ranks);

// A real file in `folder` with values to read: "matrix" F32 [300, 40] (row + column / 1000, with a NaN at [1, 2], Inf at [1, 3], −Inf at [1, 4]) in two pieces,
// "vector" I64 [100] (7 · index), "cube" F32 [3, 4, 5] (its row-major index), "packed" F4 [8], and "lost" F32 [4, 4] whose second half no piece holds.
[[nodiscard]] CheckpointPtr writeValuesSample(const std::string& folder);

// Files with metadata: the same step everywhere, a rank of their own, nested dictionaries and an opaque object.
[[nodiscard]] CheckpointPtr makeMetadataSample(std::uint32_t ranks);

// One [experts, 6, 8] tensor whose experts lie on different ranks, one with equal replicas, one vector, and one with a hole in the middle.
[[nodiscard]] CheckpointPtr makeShapesSample(std::uint64_t experts);

} // namespace shardlens::test
