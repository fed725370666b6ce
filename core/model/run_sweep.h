#pragma once

#include "core/model/coverage.h"

#include <vector>

namespace shardlens {

// Consecutive cells that a piece holds; `missing`: its file is not there, so that it should.
struct HeldRun {
    FlatRange range;
    PieceId piece;
    bool missing = false;
};

// Adds to `out` which of the first `cells` cells no run holds, and which several do. `limit` bounds what is listed, not what is counted.
void sweepRuns(std::vector<HeldRun> runs, std::uint64_t cells, std::size_t limit, Coverage& out);

} // namespace shardlens
