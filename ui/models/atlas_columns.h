#pragma once

#include "ui/models/atlas_palette.h"

#include <array>
#include <cstdint>
#include <span>
#include <vector>

namespace shardlens::ui {

// One device pixel of a lane: a class that fills it, or up to four that share it by their bytes (design.md §4, "Below a pixel").
struct AtlasColumn {
    static constexpr std::uint16_t kNone = 0xFFFF;
    static constexpr std::uint16_t kDimmed = 0x8000; // set in a class: others are in the light
    static constexpr std::size_t kMost = 4;

    struct Share {
        std::uint16_t klass = kNone;
        float share = 0; // of the column; all together at most 1
    };
    std::uint16_t solid = kNone; // a piece at least two pixels wide has its centre here
    bool lastOfPiece = false;    // the right edge of a piece at least three pixels wide
    std::uint8_t count = 0;      // shares used; 0 where `solid` is all there is
    std::array<Share, kMost> shares;

    [[nodiscard]] bool empty() const { return solid == kNone && count == 0; }
};

struct AtlasColumnRequest {
    double firstUnit = 0;   // at the left edge of column 0
    double unitsPerColumn = 1;
    std::span<const std::uint8_t> dimmedPieces; // by PieceId; empty: none
};

// Fills `out` (one per column) with what the lane shows there. Exact: every piece that touches a column is counted, at any zoom.
// Cost: O(log n + pieces that show + columns).
void fillColumns(const AtlasLane& lane, const AtlasPalette& palette, const AtlasColumnRequest& request, std::span<AtlasColumn> out);

} // namespace shardlens::ui
