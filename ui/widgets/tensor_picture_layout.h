#pragma once

#include "core/model/checkpoint.h"
#include "ui/models/tensor_faults.h"

#include <QRectF>
#include <QString>

#include <cstdint>
#include <optional>
#include <vector>

namespace shardlens::ui {

// One box of one piece, of a hole or of what two pieces hold, in the plane that shows.
struct PictureBox {
    std::uint64_t tile = 0; // row-major index over the folded axes
    std::uint64_t row = 0;
    std::uint64_t column = 0;
    std::uint64_t rows = 0;
    std::uint64_t columns = 0;
    std::optional<PieceId> piece;              // none: a hole
    bool missing = false;                      // its file is not there
    std::uint32_t copies = 1;                  // pieces that hold the same region
    std::optional<std::size_t> fault = {};     // of TensorFaults::list
};

// The two axes that are drawn downwards and across; all others are folded into tiles.
struct PictureAxes {
    std::size_t row = 0;
    std::size_t column = 0;
    bool operator==(const PictureAxes&) const = default;
};

// The index space of one tensor as boxes: pieces cut into at most 2·rank−1 boxes each, holes, and where equal regions lie on several ranks one of them.
struct PictureBoxes {
    std::uint64_t rows = 1;    // of the plane; a vector has one row
    std::uint64_t columns = 1;
    std::uint64_t tiles = 1;
    std::uint32_t copies = 1;  // the most that any region has
    std::size_t rank = 0;      // axes of the tensor's unitShape()
    PictureAxes axes;          // means nothing below rank 2
    std::vector<std::size_t> folded; // axes that tiles go over, ascending
    Shape foldedExtents;
    bool isGrid = false;       // pieces lie side by side: a chunk grid
    std::vector<PictureBox> boxes;
    std::vector<PictureBox> overlaps; // drawn above `boxes`; `piece` is the first of the two

    // Place along all axes.
    [[nodiscard]] Shape placeOf(std::uint64_t tile, std::uint64_t row, std::uint64_t column) const;
    // The tile that shows a place.
    [[nodiscard]] std::uint64_t tileOf(ShapeView place) const;
};
struct PictureRequest {
    std::uint32_t copy = 0; // which of the equal regions is taken, modulo their number
    std::uint64_t tile = 0; // the only one that is cut where there are more than PictureLayout::kMostTiles
    std::optional<PictureAxes> axes = {}; // ascending; nothing: the last two
};
// Block dtypes count cells of unitShape().
[[nodiscard]] PictureBoxes pictureBoxesOf(const Checkpoint& checkpoint, TensorId tensor, const TensorFaults& faults, const PictureRequest& request);
// Of boxes that need no checkpoint: PictureBox::piece is the number of the box.
[[nodiscard]] PictureBoxes pictureBoxesOf(ShapeView shape, const std::vector<Box>& boxes, std::uint64_t tile);
// The last two axes where their tiles can all show; else the two that show most of the cuts, then most of the tensor.
[[nodiscard]] PictureAxes bestAxesOf(const Checkpoint& checkpoint, TensorId tensor);

// Where the tiles are drawn: true to scale within 1:8 to 8:1, else bent, which `note` says.
class PictureLayout {
public:
    static constexpr std::uint64_t kMostTiles = 64;

    PictureLayout() = default;
    // `onlyTile`: that one alone; else all, if they are at most kMostTiles.
    PictureLayout(const PictureBoxes& boxes, const QRectF& room, std::optional<std::uint64_t> onlyTile, double gap);

    [[nodiscard]] const QString& note() const { return m_note; }
    [[nodiscard]] bool shows(std::uint64_t tile) const { return tile >= m_firstTile && tile < m_firstTile + m_tiles; }
    [[nodiscard]] std::uint64_t firstTile() const { return m_firstTile; }
    [[nodiscard]] std::uint64_t tiles() const { return m_tiles; }
    [[nodiscard]] QRectF tileRect(std::uint64_t tile) const;
    // At least one pixel high and wide.
    [[nodiscard]] QRectF rectOf(const PictureBox& box) const;
    struct Cell {
        std::uint64_t tile = 0;
        std::uint64_t row = 0;
        std::uint64_t column = 0;
    };
    [[nodiscard]] std::optional<Cell> cellAt(QPointF point) const;

private:
    std::uint64_t m_rows = 1;
    std::uint64_t m_columns = 1;
    std::uint64_t m_firstTile = 0;
    std::uint64_t m_tiles = 1;
    std::uint64_t m_across = 1; // tiles in a row
    QSizeF m_tile;
    QPointF m_corner;
    double m_gap = 0;
    QString m_note;
};

[[nodiscard]] bool holds(const PictureBox& box, const PictureLayout::Cell& cell);

} // namespace shardlens::ui
