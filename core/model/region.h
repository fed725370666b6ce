#pragma once

#include "core/model/shape.h"

#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <variant>
#include <vector>

namespace shardlens {

// Half-open range [begin, end) of a tensor's row-major order.
struct FlatRange {
    std::uint64_t begin = 0;
    std::uint64_t end = 0;

    [[nodiscard]] std::uint64_t size() const { return end - begin; }
    [[nodiscard]] bool empty() const { return begin >= end; }
    auto operator<=>(const FlatRange&) const = default;
};

// Axis-aligned box: offset and extent per axis.
struct Box {
    Shape offset;
    Shape extent;

    [[nodiscard]] std::uint64_t volume() const;
    auto operator<=>(const Box&) const = default;
};

struct BoxView {
    ShapeView offset;
    ShapeView extent;

    BoxView() = default;
    BoxView(ShapeView o, ShapeView e) : offset(o), extent(e) {}
    BoxView(const Box& box) : offset(box.offset), extent(box.extent) {}
    [[nodiscard]] std::uint64_t volume() const;
};

// Part of a tensor's index space (DESIGN.md §1). All numbers count cells of unitShape().
using Region = std::variant<FlatRange, Box>;
// A region that lives in somebody's table; dies with it.
using RegionView = std::variant<FlatRange, BoxView>;

[[nodiscard]] RegionView viewOf(const Region& region);
[[nodiscard]] Region copyOf(const RegionView& region);
[[nodiscard]] std::uint64_t volumeOf(const RegionView& region);
// True where every cell lies inside `shape` (and box axes agree with it in number).
[[nodiscard]] bool isInside(const RegionView& region, ShapeView shape);

// The stretch of row-major order from a region's first cell to its last; cells of a box in between that it does not hold are counted in.
[[nodiscard]] FlatRange outlineOf(const RegionView& region, ShapeView shape);

// The overlap of two flat ranges; empty() where there is none.
[[nodiscard]] FlatRange intersect(FlatRange a, FlatRange b);
// The overlap of two boxes of equal rank; volume 0 where there is none.
[[nodiscard]] Box intersect(const BoxView& a, const BoxView& b);

// The at most max(1, 2·rank−1) boxes that make up a flat range of `shape`, in row-major order.
void forEachBox(FlatRange range, ShapeView shape, const std::function<void(const Box&)>& visit);
// The runs of row-major order that make up a box, ascending; neighbours are merged.
void forEachRun(const BoxView& box, ShapeView shape, const std::function<void(FlatRange)>& visit);
// How many runs forEachRun() visits.
[[nodiscard]] std::uint64_t runCountOf(const BoxView& box, ShapeView shape);

// "rows 6,019 to 11,007" style words for people: "[6019:11008, 0:4096]" or "elements 5 to 12".
[[nodiscard]] std::string regionText(const RegionView& region);

} // namespace shardlens
