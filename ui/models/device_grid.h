#pragma once

#include "core/model/shape.h"

#include <QString>

#include <cstdint>
#include <optional>
#include <vector>

namespace shardlens::ui {

// How the devices of a run lie on paper, by the device matrix of each pipeline stage (core/layout/mindspore_strategy.h): the last axis across, the one before it
// down, a block for each stage and each index of the other axes. Axes of one device are left out. What is longer than 64 is folded: a row into lines below each
// other, a column into blocks side by side.
class DeviceGrid {
public:
    static constexpr std::uint32_t kLongest = 64;

    DeviceGrid() = default;
    // One matrix a stage, none empty, each of as many devices, at most 2^31 together.
    explicit DeviceGrid(const std::vector<Shape>& matrices);

    struct Place {
        std::uint32_t block = 0;
        std::uint32_t row = 0;
        std::uint32_t column = 0;
    };
    [[nodiscard]] std::uint32_t blocks() const { return m_blocks; }
    [[nodiscard]] std::uint32_t rows() const { return m_rows; }       // of the largest block
    [[nodiscard]] std::uint32_t columns() const { return m_columns; } // likewise
    [[nodiscard]] std::uint32_t devices() const { return m_devices * static_cast<std::uint32_t>(m_stages.size()); }
    [[nodiscard]] Place placeOf(std::uint32_t rank) const;
    [[nodiscard]] std::optional<std::uint32_t> rankAt(Place place) const; // nothing: no device lies there

    // "stage 1", "stage 1, axis 2: 0", "axis 1 from 64"; empty where there is one block.
    [[nodiscard]] QString blockName(std::uint32_t block) const;
    // "4 × 2: axis 1 down, axis 0 across", of the first stage; axes are counted from the right, as strategies do.
    [[nodiscard]] QString text() const;
    // "axis 1: 3, axis 0: 1": where a rank is in its stage's matrix; empty for a single device.
    [[nodiscard]] QString coordinates(std::uint32_t rank) const;

private:
    struct Axis {
        std::uint32_t number = 0; // from the right of the device matrix
        std::uint32_t size = 1;
        std::uint32_t stride = 1; // ranks from one index to the next
    };
    struct Stage {
        std::vector<Axis> axes; // of more than one device, slowest first
        std::uint32_t columns = 1;
        std::uint32_t rows = 1;
        std::uint32_t panels = 1;       // of the axes beyond two
        std::uint32_t fold = 1;         // columns in a line
        std::uint32_t linesPerRow = 1;
        std::uint32_t rowsPerBlock = 1;
        std::uint32_t rowBlocks = 1;    // blocks of a panel
        std::uint32_t firstBlock = 0;
    };
    [[nodiscard]] static Stage stageOf(const Shape& matrix);
    [[nodiscard]] std::size_t stageOfBlock(std::uint32_t block) const;

    std::vector<Stage> m_stages;
    std::uint32_t m_devices = 0; // a stage
    std::uint32_t m_blocks = 0;
    std::uint32_t m_rows = 0;
    std::uint32_t m_columns = 0;
};

} // namespace shardlens::ui
