#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>

namespace shardlens {

constexpr std::uint64_t kQuantWordBits = 32; // of the words that codes are packed in

// By any divisor but 0: a source may say one that is close to 2^64.
[[nodiscard]] constexpr std::uint64_t divideUp(std::uint64_t value, std::uint64_t by)
{
    return value / by + (value % by == 0 ? 0 : 1);
}

// Which values of a matrix share a scale: runs of the flattened matrix, or blocks with ragged edges.
struct ScaleGrid {
    std::uint64_t rows = 0;
    std::uint64_t columns = 0;
    std::uint64_t run = 1;           // values of a run; of blocks their width
    std::uint64_t blockHeight = 0;   // 0: runs, which may cross rows

    [[nodiscard]] std::uint64_t values() const { return rows * columns; }
    [[nodiscard]] std::uint64_t scalesOfRow() const { return divideUp(columns, run); } // of blocks
    [[nodiscard]] std::uint64_t scales() const
    {
        return blockHeight == 0 ? divideUp(values(), run) : divideUp(rows, blockHeight) * scalesOfRow();
    }
    [[nodiscard]] std::uint64_t scaleAt(std::uint64_t value) const
    {
        return blockHeight == 0 ? value / run : value / columns / blockHeight * scalesOfRow() + value % columns / run;
    }
    // The first scale that values [first, first + count) have, and how many up to the last one: for blocks whole rows of blocks.
    [[nodiscard]] std::uint64_t firstScale(std::uint64_t first) const { return blockHeight == 0 ? scaleAt(first) : first / columns / blockHeight * scalesOfRow(); }
    [[nodiscard]] std::uint64_t endOfScales(std::uint64_t end) const // of values that end there
    {
        return blockHeight == 0 ? scaleAt(end - 1) + 1 : ((end - 1) / columns / blockHeight + 1) * scalesOfRow();
    }

    // Calls visit(scale, at, length, count) with neighbouring runs of one length inside [first, first + count): the number of their first scale, and where they begin
    // behind `first`. Where a run is cut by the ends it comes alone.
    template <typename Visit>
    void forRuns(std::uint64_t first, std::uint64_t count, const Visit& visit) const
    {
        for (std::uint64_t at = 0; at < count;) {
            const std::uint64_t value = first + at;
            const std::uint64_t line = blockHeight == 0 ? value : value % columns; // blocks begin anew with every row
            const std::uint64_t lineEnd = blockHeight == 0 ? values() : columns;
            const std::uint64_t left = std::min(count - at, lineEnd - line);
            const bool whole = line % run == 0 && left >= run;
            const std::uint64_t runs = whole ? left / run : 1;
            const std::uint64_t length = whole ? run : std::min(run - line % run, left);
            visit(scaleAt(value), static_cast<std::size_t>(at), static_cast<std::size_t>(length), static_cast<std::size_t>(runs));
            at += length * runs;
        }
    }
};

} // namespace shardlens
