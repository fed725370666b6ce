#pragma once

#include "core/model/checkpoint.h"

#include <cstddef>
#include <span>
#include <vector>

namespace shardlens {

// Which piece each cell of a tensor is taken from. Rows of dimension 0 in which the same pieces hold the same columns are one band, so that a grid of chunks
// takes one entry a chunk and not one a row of it. Where pieces are flat ranges, all cells are one row.
struct PieceBands {
    struct Segment {
        FlatRange cells; // of a row
        PieceId piece;
    };
    struct Band {
        FlatRange rows;
        std::size_t first = 0; // of its segments, which are ascending and without gaps
        std::size_t last = 0;
    };
    std::uint64_t rowCells = 1;
    std::vector<Band> bands; // ascending, without gaps, up to the first cell that nobody holds
    std::vector<Segment> segments;
    bool overlaps = false;   // some cell is held twice: the first piece counts
    bool complete = false;   // every cell is held
    bool scattered = false;  // not known, and taken as not held: the pieces break into more runs than memory has room for

    [[nodiscard]] std::span<const Segment> of(const Band& band) const { return std::span(segments).subspan(band.first, band.last - band.first); }
};

// `units`: unitShape() of the tensor. Pieces whose file is missing hold nothing.
[[nodiscard]] PieceBands bandsOf(const Checkpoint& checkpoint, std::span<const PieceId> pieces, ShapeView units);

} // namespace shardlens
