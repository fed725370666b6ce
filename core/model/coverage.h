#pragma once

#include "core/model/checkpoint.h"

#include <vector>

namespace shardlens {

// Cells that two pieces both hold.
struct Overlap {
    PieceId first;
    PieceId second;
    Region region;
};

// A part of a tensor that nobody holds.
struct Hole {
    Region region;
    // The piece whose file is missing, where the format says who should hold it.
    std::optional<PieceId> expected;
};

struct Coverage {
    std::vector<Hole> holes;       // ascending; at most `limit`
    std::vector<Overlap> overlaps; // at most `limit`
    std::uint64_t missingCells = 0;
    std::uint64_t overlappingPairs = 0;
    bool scattered = false; // the pieces break into more parts than can be gone through: nothing is known, and all counts as one hole

    [[nodiscard]] bool complete() const { return missingCells == 0; }
};

// The pieces whose values a mean is made of: one list for each tensor-parallel rank, in rank order (Combine::Average). Of any other tensor one list of all.
[[nodiscard]] std::vector<std::vector<PieceId>> summandsOf(const Checkpoint& checkpoint, TensorId tensor);

inline constexpr std::uint64_t kRunsKept = 1u << 22; // in memory at a time
inline constexpr std::uint64_t kAsBoxes = 0;

// Which cells of a tensor no piece holds, and which several do: a sweep over row-major order, O(r log r) in the runs that the pieces break into;
// where these are more than `runsKept` and the pieces, over bands of rows, and boxes are listed then, not flat ranges: with kAsBoxes wherever pieces are boxes that are no runs.
// Never a bounding box: a hole inside the outline of the pieces is found. Of a mean each rank must hold every cell. `limit` bounds what is listed, not what
// is counted.
[[nodiscard]] Coverage coverageOf(const Checkpoint& checkpoint, TensorId tensor, std::size_t limit = 64, std::uint64_t runsKept = kRunsKept);

} // namespace shardlens
