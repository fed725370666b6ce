#pragma once

#include "core/model/checkpoint.h"

#include <cstddef>
#include <span>
#include <vector>

namespace shardlens {

// Which pieces the cells of a tensor are taken from. Where pieces are boxes, rows of the first axis that has several in which the same pieces hold the same columns
// are one band, so that a grid of chunks takes one entry a chunk, however many rows these have. Flat ranges are bands of their own.
struct PieceBands {
    struct Part {
        PieceId piece;
        std::uint64_t cells = 0; // of the band
    };
    struct Band {
        FlatRange cells;       // of the tensor
        std::size_t first = 0; // of its parts, ascending by piece: where several hold a cell, the first counts
        std::size_t last = 0;
    };
    std::vector<Band> bands; // ascending, without gaps, up to the first that has a cell which nobody holds
    std::vector<Part> parts;
    bool overlaps = false;  // some cell is held twice
    bool complete = false;  // every cell is held
    bool scattered = false; // not known, and taken as not held: more entries than memory has room for

    [[nodiscard]] std::span<const Part> of(const Band& band) const { return std::span(parts).subspan(band.first, band.last - band.first); }
};

// `units`: unitShape() of the tensor. Pieces whose file is missing hold nothing. Pieces that hold no cell which an equal one before them lacks are left out.
[[nodiscard]] PieceBands bandsOf(const Checkpoint& checkpoint, std::span<const PieceId> pieces, ShapeView units);

} // namespace shardlens
