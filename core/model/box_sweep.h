#pragma once

#include "core/model/coverage.h"

#include <deque>
#include <span>
#include <vector>

namespace shardlens {

// A box of a piece; `missing`: its file is not there, so that it holds nothing.
struct BoxPart {
    BoxView box;
    PieceId piece;
    bool missing = false;
};

// A box for every box, and at most max(1, 2·rank−1) for a flat range of `units`; these live in `made`.
void addBoxes(const RegionView& region, PieceId piece, bool missing, ShapeView units, std::deque<Box>& made, std::vector<BoxPart>& out);
// Without the first `axes` axes, in which it is one cell wide or cut already.
[[nodiscard]] BoxPart withoutAxes(const BoxPart& part, std::size_t axes);

// Which cells of a space no box holds, and which several do: axis by axis, by bands in which the same boxes are open, so that the cost follows the boxes and not the
// rows that they have. What is listed are boxes. One budget of steps for all that an object is asked.
class BoxSweep {
public:
    // `limit` bounds what is listed.
    explicit BoxSweep(std::size_t limit) : m_limit(limit) {}

    // Adds to `out`; false where the budget is used up, and `out` holds a part then. `units` has at least one axis.
    [[nodiscard]] bool sweep(std::span<const BoxPart> boxes, ShapeView units, Coverage& out);

private:
    void sweepLine(std::span<const BoxPart> boxes, std::uint64_t cells, Coverage& out) const;
    void addBand(const Coverage& band, FlatRange rows, Coverage& out) const;

    std::size_t m_limit;
    std::uint64_t m_steps = 0;
};

// The places along the first axis where boxes begin and end, ascending; with both ends of the axis.
[[nodiscard]] std::vector<std::uint64_t> bordersOf(std::span<const BoxPart> boxes, std::uint64_t extent);

} // namespace shardlens
