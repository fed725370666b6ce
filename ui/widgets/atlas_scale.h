#pragma once

#include <QString>

#include <cstdint>
#include <vector>

namespace shardlens::ui {

// Units of a lane (bytes or elements) across ↔ pixels from the plot's left edge. A value.
struct AtlasScale {
    double firstUnit = 0;
    double unitsPerPixel = 1;

    [[nodiscard]] double toPixel(double unit) const { return (unit - firstUnit) / unitsPerPixel; }
    [[nodiscard]] double toUnit(double pixel) const { return firstUnit + pixel * unitsPerPixel; }
    auto operator<=>(const AtlasScale&) const = default;

    // All of `length` (made round, so that the ruler ends in a label) in `width` pixels.
    [[nodiscard]] static AtlasScale fit(std::uint64_t length, double width, bool bytes);
    // `begin` to `end` in the middle `share` of the width.
    [[nodiscard]] static AtlasScale showing(double begin, double end, double width, double share);
    // Times `factor` closer, what is at `pixel` stays there.
    [[nodiscard]] AtlasScale zoomed(double factor, double pixel) const;
    // Inside what fit() shows, and not closer than 8 pixels a unit.
    [[nodiscard]] AtlasScale limited(std::uint64_t length, double width, bool bytes) const;
};

// The round length that fit() shows.
[[nodiscard]] double roundedLength(std::uint64_t length, bool bytes);

struct RulerTick {
    double unit = 0;
    QString label; // empty: a minor tick
};

// Steps of 1, 2, 5 (times powers of ten of a binary unit for bytes), labels at least `gap` pixels apart. Where neighbouring labels would read
// the same, the first is exact and the others count from it ("+4 KiB").
[[nodiscard]] std::vector<RulerTick> rulerTicks(const AtlasScale& scale, double width, double gap, bool bytes);

} // namespace shardlens::ui
