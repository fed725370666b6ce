#pragma once

#include "core/model/region.h"

#include <cstdint>
#include <functional>
#include <vector>

namespace shardlens {

// Where the cells of a region lie: address(index) = base + Σ index[axis] · stride[axis]. Units are the caller's (bytes for sources, cells for targets).
struct AddressMap {
    std::int64_t base = 0;
    std::vector<std::int64_t> strides; // one per axis of the tensor

    // Cells of `region` packed densely in row-major order from `start`, `cell` units each.
    [[nodiscard]] static AddressMap dense(const RegionView& region, ShapeView shape, std::uint64_t start, std::uint64_t cell);
    // Cells of a box at `start` with its own stride per axis.
    [[nodiscard]] static AddressMap strided(const BoxView& box, std::span<const std::int64_t> strides, std::uint64_t start);
};

// One nested loop of copies: for every combination of the dims, one cell from source to target.
// Dims are outermost first; where the innermost strides are both one cell it is a run.
struct AffineCopy {
    struct Dim {
        std::uint64_t count;
        std::int64_t sourceStride;
        std::int64_t targetStride;
    };
    std::int64_t source = 0;
    std::int64_t target = 0;
    std::vector<Dim> dims; // neighbours that continue each other on both sides are merged; none of count 1

    [[nodiscard]] std::uint64_t cells() const;
};

// The copies that bring the cells common to both regions from source addresses to target addresses.
// Flat ∩ flat is one copy, box ∩ box at most one, flat ∩ box at most 2·rank−1.
void forEachCopy(const RegionView& sourceRegion, const AddressMap& source, const RegionView& targetRegion, const AddressMap& target,
                 ShapeView shape, const std::function<void(const AffineCopy&)>& visit);

} // namespace shardlens
