#pragma once

#include "core/base/result.h"
#include "core/model/piece_import.h"
#include "core/model/shape.h"

#include <cstddef>
#include <cstdint>
#include <vector>

namespace shardlens {

// How one tensor lies over the ranks of a parallel axis.
//
// Split: along `dim` the whole is a row of segments (q, k and v; gate and up), each segment is cut over the ranks in rank order, and a rank's part is its
// pieces of the segments one behind another (formats/megatron.md §5.2). One segment is the plain cut.
struct Division {
    enum class Kind : std::uint8_t { Replicated, Average, Split };
    Kind kind = Kind::Replicated;
    std::size_t dim = 0;
    std::vector<std::vector<std::uint64_t>> widths; // [segment][rank]: cells along `dim`; Split only

    auto operator<=>(const Division&) const = default;
};

// Cuts segments of those widths (cells of the whole along `dim`) into equal parts. Refused: "14 rows do not divide by 4", with the segment where there are several.
[[nodiscard]] Result<Division> divideEvenly(std::size_t dim, const std::vector<std::uint64_t>& segments, std::uint32_t ranks);

// A rank's part of a tensor of shape `whole`. `whole` must be as wide along `dim` as the widths say.
[[nodiscard]] Shape partShape(const Division& division, ShapeView whole, std::uint32_t rank);
// The boxes that a rank holds: `from` in its own part, `to` in the whole. One for a replica.
[[nodiscard]] std::vector<Slab> slabsOf(const Division& division, ShapeView whole, std::uint32_t rank);
// The same from the whole's side: `from` in the whole, `to` in the part.
[[nodiscard]] std::vector<Slab> slabsInto(const Division& division, ShapeView whole, std::uint32_t rank);

} // namespace shardlens
