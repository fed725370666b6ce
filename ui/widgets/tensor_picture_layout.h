#pragma once

#include "core/model/checkpoint.h"

#include <QRectF>
#include <QString>

#include <cstdint>
#include <optional>
#include <vector>

namespace shardlens::ui {

// One box of one piece, or of a hole, in the plane of the last two axes.
struct PictureBox {
    std::uint64_t tile = 0; // row-major index over the leading axes
    std::uint64_t row = 0;
    std::uint64_t column = 0;
    std::uint64_t rows = 0;
    std::uint64_t columns = 0;
    std::optional<PieceId> piece; // none: a hole
    bool missing = false;         // its file is not there
    std::uint32_t copies = 1;     // pieces that hold the same region
};

// The index space of one tensor as boxes: pieces cut into at most 2·rank−1 boxes each, holes, and where equal regions lie on several ranks one of them.
struct PictureBoxes {
    std::uint64_t rows = 1;    // of the plane; a vector has one row
    std::uint64_t columns = 1;
    std::uint64_t tiles = 1;
    std::uint32_t copies = 1;  // the most that any region has
    std::vector<PictureBox> boxes;
};
struct PictureRequest {
    std::uint32_t copy = 0; // which of the equal regions is taken, modulo their number
    std::uint64_t tile = 0; // the only one that is cut where there are more than PictureLayout::kMostTiles
};
// Block dtypes count cells of unitShape().
[[nodiscard]] PictureBoxes pictureBoxesOf(const Checkpoint& checkpoint, TensorId tensor, const PictureRequest& request);
// Of boxes that need no checkpoint: PictureBox::piece is the number of the box.
[[nodiscard]] PictureBoxes pictureBoxesOf(ShapeView shape, const std::vector<Box>& boxes, std::uint64_t tile);

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

} // namespace shardlens::ui
