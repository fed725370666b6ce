#pragma once

#include "core/model/topology.h"

#include <QSizeF>
#include <QString>

#include <cstdint>
#include <optional>
#include <vector>

namespace shardlens::ui {

// How the ranks of a run lie on paper: tensor parallel across, stages down, and a block for each index of the other axes.
// A run of one axis is a row that wraps: a block for each rank.
class RankGrid {
public:
    RankGrid() = default;
    explicit RankGrid(const Topology& topology);

    struct Place {
        std::uint32_t block = 0;
        std::uint32_t row = 0;
        std::uint32_t column = 0;
    };
    [[nodiscard]] std::uint32_t blocks() const { return m_blocks; }
    [[nodiscard]] std::uint32_t rows() const { return m_rows.size; }
    [[nodiscard]] std::uint32_t columns() const { return m_columns.size; }
    [[nodiscard]] std::uint32_t ranks() const { return m_blocks * m_rows.size * m_columns.size; }
    [[nodiscard]] std::uint32_t rankAt(Place place) const;
    [[nodiscard]] Place placeOf(std::uint32_t rank) const;

    [[nodiscard]] bool hasRowNames() const { return m_rows.axis.has_value(); }
    [[nodiscard]] bool hasColumnNames() const { return m_columns.axis.has_value(); }
    // "stage 1", "dp 3", "tp 0": short enough for an edge.
    [[nodiscard]] QString rowName(std::uint32_t row) const;
    [[nodiscard]] QString columnName(std::uint32_t column) const;
    // "dp 1", "dp 1, ep 0"; empty where blocks are single ranks or there is one.
    [[nodiscard]] QString blockName(std::uint32_t block) const;

private:
    struct Line {
        std::optional<Axis> axis;
        std::uint32_t size = 1;
        std::uint32_t stride = 1; // ranks from one index to the next
    };

    Line m_rows;
    Line m_columns;
    std::vector<Line> m_over; // axes of the blocks, slowest first
    std::uint32_t m_blocks = 1;
};

// "stage 1" of the pipeline axis, else "tp 1".
[[nodiscard]] QString coordinateText(Axis axis, std::uint32_t index);

} // namespace shardlens::ui
