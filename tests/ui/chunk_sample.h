#pragma once

#include "core/model/checkpoint.h"

#include <cstdint>
#include <optional>
#include <set>
#include <string>
#include <vector>

namespace shardlens::test {

// An invented run whose ranks write one file of chunks each, no real files.
struct ChunkSample {
    std::uint32_t ranks = 4;
    Shape shape{64, 48};
    Shape parts{4, 2};              // of each axis; parts must divide it
    std::set<std::size_t> left = {};    // chunks that nobody writes, by row-major number
    std::size_t onlyEvery = 1;      // chunks whose number is no multiple are left out as well
    std::optional<Box> twice = {};      // a further chunk, of the last rank
    std::set<std::uint32_t> missing = {}; // ranks whose files are not there
    bool hasRanks = true;           // files say who wrote them
    bool areCopies = false;         // equal regions are copies of each other
    std::uint32_t copies = 1;       // times that every chunk is written, by the following ranks
};
// Chunk i is of rank i modulo ranks. One tensor, "grid.weight", F32.
[[nodiscard]] CheckpointPtr makeChunkSample(const ChunkSample& sample);

} // namespace shardlens::test
