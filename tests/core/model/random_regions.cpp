#include "tests/core/model/random_regions.h"

namespace shardlens::testing_support {

Shape RandomRegions::shape()
{
    Shape out(below(5));
    for (std::uint64_t& extent : out)
        extent = below(25) == 0 ? 0 : 1 + below(6);
    return out;
}

FlatRange RandomRegions::range(ShapeView shape)
{
    const std::uint64_t cells = cellsOf(shape);
    const std::uint64_t a = below(cells + 1);
    const std::uint64_t b = below(cells + 1);
    return {std::min(a, b), std::max(a, b)};
}

Box RandomRegions::box(ShapeView shape)
{
    Box out{Shape(shape.size()), Shape(shape.size())};
    for (std::size_t axis = 0; axis < shape.size(); ++axis) {
        // Whole axes and single indices are what real shards have; make them common.
        const std::uint64_t kind = below(4);
        const std::uint64_t a = below(shape[axis] + 1);
        const std::uint64_t b = below(shape[axis] + 1);
        out.offset[axis] = kind == 0 ? 0 : std::min(a, b);
        out.extent[axis] = kind == 0 ? shape[axis] : std::max(a, b) - std::min(a, b);
    }
    return out;
}

Region RandomRegions::region(ShapeView shape)
{
    if (below(2) == 0)
        return range(shape);
    return box(shape);
}

std::uint64_t cellsOf(ShapeView shape)
{
    std::uint64_t out = 1;
    for (const std::uint64_t extent : shape)
        out *= extent;
    return out;
}

Shape coordinatesOf(std::uint64_t cell, ShapeView shape)
{
    Shape out(shape.size());
    for (std::size_t axis = shape.size(); axis-- > 0;) {
        out[axis] = cell % shape[axis];
        cell /= shape[axis];
    }
    return out;
}

Bitmap bitmapOf(const RegionView& region, ShapeView shape)
{
    Bitmap out(cellsOf(shape), false);
    for (std::uint64_t cell = 0; cell < out.size(); ++cell) {
        if (const auto* flat = std::get_if<FlatRange>(&region)) {
            out[cell] = cell >= flat->begin && cell < flat->end;
            continue;
        }
        const auto& box = std::get<BoxView>(region);
        const Shape at = coordinatesOf(cell, shape);
        bool inside = true;
        for (std::size_t axis = 0; axis < at.size(); ++axis)
            inside = inside && at[axis] >= box.offset[axis] && at[axis] - box.offset[axis] < box.extent[axis];
        out[cell] = inside;
    }
    return out;
}

} // namespace shardlens::testing_support
