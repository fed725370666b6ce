#pragma once

#include "core/model/region.h"

#include <cstdint>
#include <random>
#include <vector>

namespace shardlens::testing_support {

// Small random index spaces and regions of them, and the plainest possible answers to compare with: one flag a cell.
class RandomRegions {
public:
    explicit RandomRegions(std::uint32_t seed) : m_random(seed) {}

    [[nodiscard]] std::uint64_t below(std::uint64_t limit) { return m_random() % limit; }
    // Rank 0 to 4, extents 1 to 6, now and then one of 0.
    [[nodiscard]] Shape shape();
    [[nodiscard]] FlatRange range(ShapeView shape);
    [[nodiscard]] Box box(ShapeView shape);
    [[nodiscard]] Region region(ShapeView shape);

private:
    std::mt19937 m_random;
};

using Bitmap = std::vector<bool>; // in row-major order

[[nodiscard]] std::uint64_t cellsOf(ShapeView shape);
// Coordinates of a cell, by repeated division.
[[nodiscard]] Shape coordinatesOf(std::uint64_t cell, ShapeView shape);
[[nodiscard]] Bitmap bitmapOf(const RegionView& region, ShapeView shape);

} // namespace shardlens::testing_support
