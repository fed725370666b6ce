#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

namespace shardlens {

// Parallel axes, in the field's usual abbreviations: data, tensor, pipeline, expert, sequence, replicate (HSDP) and plain rank.
enum class Axis : std::uint8_t { Dp, Tp, Pp, Ep, Sp, Replica, Rank };

[[nodiscard]] const char* nameOf(Axis axis); // "dp"

// Who holds a piece: a coordinate per axis; an axis that is not named means "any": every coordinate holds the same bytes.
struct Holder {
    struct Coordinate {
        Axis axis;
        std::uint32_t index;
        auto operator<=>(const Coordinate&) const = default;
    };
    std::vector<Coordinate> coordinates; // ascending by axis

    auto operator<=>(const Holder&) const = default;
};

// The axes of the run that wrote the checkpoint, slowest first, so that rank = Σ coordinate · product of the sizes after it.
struct Topology {
    struct Size {
        Axis axis;
        std::uint32_t size;
    };
    std::vector<Size> axes; // empty where the format does not say

    [[nodiscard]] std::uint32_t worldSize() const; // 1 without axes
    [[nodiscard]] std::uint32_t sizeOf(Axis axis) const; // 1 where the axis is not there
    // The rank of a holder, where its coordinates single one out: an axis of size > 1 that is "any" leaves it open.
    [[nodiscard]] std::optional<std::uint32_t> rankOf(const Holder& holder) const;
    // Every rank that the holder covers, ascending.
    [[nodiscard]] std::vector<std::uint32_t> ranksOf(const Holder& holder) const;
    // "data parallel 4, tensor parallel 2"
    [[nodiscard]] std::string text() const;
    // "dp any, tp 1"
    [[nodiscard]] std::string textOf(const Holder& holder) const;
};

} // namespace shardlens
