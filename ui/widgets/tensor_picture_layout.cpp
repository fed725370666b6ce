#include "ui/widgets/tensor_picture_layout.h"

#include "core/model/coverage.h"

#include <QCoreApplication>

#include <algorithm>
#include <cmath>
#include <map>

namespace shardlens::ui {
namespace {

struct TensorPictureText {
    Q_DECLARE_TR_FUNCTIONS(TensorPicture)
};

constexpr double kMostBent = 8;      // width : height and the other way round
constexpr double kVectorHeight = 56; // pixels of the bar of a vector
constexpr std::size_t kMostHoles = 1024;

// Number of leading tiles, rows and columns of a shape.
void planeOf(ShapeView units, PictureBoxes& out)
{
    const std::size_t rank = units.size();
    out.columns = rank >= 1 ? units[rank - 1] : 1;
    out.rows = rank >= 2 ? units[rank - 2] : 1;
    for (std::size_t axis = 0; axis + 2 < rank; ++axis)
        out.tiles *= units[axis];
}

// Collects boxes in the plane for every tile that shows.
class BoxCollector {
public:
    BoxCollector(ShapeView units, PictureBoxes& out, std::uint64_t tile) : m_units(units), m_out(out)
    {
        if (out.tiles > PictureLayout::kMostTiles)
            m_onlyTile = tile;
    }

    void add(const RegionView& region, const PictureBox& prototype)
    {
        if (volumeOf(region) == 0)
            return;
        if (const auto* flat = std::get_if<FlatRange>(&region))
            forEachBox(*flat, m_units, [&](const Box& box) { addBox(box, prototype); });
        else
            addBox(std::get<BoxView>(region), prototype);
    }

private:
    void addBox(const BoxView& box, PictureBox prototype)
    {
        const std::size_t rank = m_units.size();
        prototype.column = rank >= 1 ? box.offset[rank - 1] : 0;
        prototype.columns = rank >= 1 ? box.extent[rank - 1] : 1;
        prototype.row = rank >= 2 ? box.offset[rank - 2] : 0;
        prototype.rows = rank >= 2 ? box.extent[rank - 2] : 1;
        if (rank <= 2) {
            m_out.boxes.push_back(prototype);
            return;
        }
        const Box leading{Shape(box.offset.begin(), box.offset.end() - 2), Shape(box.extent.begin(), box.extent.end() - 2)};
        if (m_onlyTile) {
            prototype.tile = *m_onlyTile;
            if (holdsTile(leading, *m_onlyTile))
                m_out.boxes.push_back(prototype);
            return;
        }
        forEachRun(leading, m_units.first(rank - 2), [&](FlatRange tiles) {
            for (prototype.tile = tiles.begin; prototype.tile < tiles.end; ++prototype.tile)
                m_out.boxes.push_back(prototype);
        });
    }

    [[nodiscard]] bool holdsTile(const Box& leading, std::uint64_t tile) const
    {
        for (std::size_t axis = leading.offset.size(); axis-- > 0;) {
            const std::uint64_t at = tile % m_units[axis];
            tile /= m_units[axis];
            if (at < leading.offset[axis] || at - leading.offset[axis] >= leading.extent[axis])
                return false;
        }
        return true;
    }

    ShapeView m_units;
    PictureBoxes& m_out;
    std::optional<std::uint64_t> m_onlyTile;
};

QString factorText(double factor)
{
    if (factor < 1.05)
        return {};
    return QString::number(factor, 'f', factor < 10 ? 1 : 0);
}

} // namespace

PictureBoxes pictureBoxesOf(const Checkpoint& checkpoint, TensorId tensor, const PictureRequest& request)
{
    const Tensor& owner = checkpoint.tensor(tensor);
    const Shape units = unitShape(owner.shape, owner.dtype);
    PictureBoxes out;
    planeOf(units, out);
    BoxCollector collector(units, out, request.tile);
    std::map<Region, std::vector<PieceId>> byRegion;
    std::vector<Region> order;
    for (std::size_t row = checkpoint.pieces().firstOf(tensor); row < checkpoint.pieces().lastOf(tensor); ++row) {
        const Piece piece = checkpoint.pieces().at(idAt<PieceId>(row));
        Region region = copyOf(piece.region);
        auto& same = byRegion[region];
        if (same.empty())
            order.push_back(std::move(region));
        same.push_back(piece.id);
    }
    for (const Region& region : order) {
        const std::vector<PieceId>& same = byRegion[region];
        PictureBox prototype;
        prototype.piece = same[request.copy % same.size()];
        prototype.copies = static_cast<std::uint32_t>(same.size());
        prototype.missing = checkpoint.stream(checkpoint.pieces().at(*prototype.piece).source.stream).kind == Stream::Kind::Missing;
        out.copies = std::max(out.copies, prototype.copies);
        collector.add(viewOf(region), prototype);
    }
    for (const Hole& hole : coverageOf(checkpoint, tensor, kMostHoles).holes)
        if (!hole.expected)
            collector.add(viewOf(hole.region), {});
    return out;
}

PictureBoxes pictureBoxesOf(ShapeView shape, const std::vector<Box>& boxes, std::uint64_t tile)
{
    PictureBoxes out;
    planeOf(shape, out);
    BoxCollector collector(shape, out, tile);
    for (std::size_t i = 0; i < boxes.size(); ++i) {
        PictureBox prototype;
        prototype.piece = idAt<PieceId>(i);
        collector.add(BoxView(boxes[i]), prototype);
    }
    return out;
}

PictureLayout::PictureLayout(const PictureBoxes& boxes, const QRectF& room, std::optional<std::uint64_t> onlyTile, double gap)
    : m_rows(std::max<std::uint64_t>(boxes.rows, 1)), m_columns(std::max<std::uint64_t>(boxes.columns, 1)), m_gap(gap)
{
    const bool single = onlyTile || boxes.tiles > kMostTiles || boxes.tiles <= 1;
    m_firstTile = single ? std::min(onlyTile.value_or(0), std::max<std::uint64_t>(boxes.tiles, 1) - 1) : 0;
    m_tiles = single ? 1 : boxes.tiles;
    const double trueRatio = static_cast<double>(m_columns) / static_cast<double>(m_rows);
    const double ratio = std::clamp(trueRatio, 1 / kMostBent, kMostBent);
    if (m_rows == 1 && boxes.tiles <= 1) { // a vector: one bar
        m_tile = {room.width(), std::min(room.height(), kVectorHeight)};
        m_corner = room.topLeft();
        return;
    }
    double best = 0;
    for (std::uint64_t across = 1; across <= m_tiles; ++across) {
        const auto down = static_cast<double>((m_tiles + across - 1) / across);
        const double width = (room.width() - gap * static_cast<double>(across - 1)) / static_cast<double>(across);
        const double height = (room.height() - gap * (down - 1)) / down;
        const double fitting = std::min(width, height * ratio);
        if (fitting > best) {
            best = fitting;
            m_across = across;
        }
    }
    m_tile = {std::max(1.0, std::floor(best)), std::max(1.0, std::floor(best / ratio))};
    m_corner = room.topLeft();
    const double bent = trueRatio > ratio ? trueRatio / ratio : ratio / trueRatio;
    if (const QString factor = factorText(bent); factor.isEmpty())
        m_note = TensorPictureText::tr("to scale");
    else
        m_note = trueRatio > ratio ? TensorPictureText::tr("height to scale, width drawn %1 times too short").arg(factor)
                                   : TensorPictureText::tr("width to scale, height drawn %1 times too short").arg(factor);
}

QRectF PictureLayout::tileRect(std::uint64_t tile) const
{
    const std::uint64_t index = tile - m_firstTile;
    const auto x = static_cast<double>(index % m_across);
    const auto y = static_cast<double>(index / m_across);
    return {m_corner.x() + x * (m_tile.width() + m_gap), m_corner.y() + y * (m_tile.height() + m_gap), m_tile.width(), m_tile.height()};
}

QRectF PictureLayout::rectOf(const PictureBox& box) const
{
    const QRectF tile = tileRect(box.tile);
    const double perColumn = tile.width() / static_cast<double>(m_columns);
    const double perRow = tile.height() / static_cast<double>(m_rows);
    const double left = tile.left() + perColumn * static_cast<double>(box.column);
    const double top = tile.top() + perRow * static_cast<double>(box.row);
    const double width = std::max(1.0, perColumn * static_cast<double>(box.columns));
    const double height = std::max(1.0, perRow * static_cast<double>(box.rows));
    return {std::min(left, tile.right() - width), std::min(top, tile.bottom() - height), width, height};
}

std::optional<PictureLayout::Cell> PictureLayout::cellAt(QPointF point) const
{
    for (std::uint64_t tile = m_firstTile; tile < m_firstTile + m_tiles; ++tile) {
        const QRectF rect = tileRect(tile);
        if (!rect.contains(point) || rect.isEmpty())
            continue;
        const double row = (point.y() - rect.top()) / rect.height() * static_cast<double>(m_rows);
        const double column = (point.x() - rect.left()) / rect.width() * static_cast<double>(m_columns);
        return Cell{tile, std::min(m_rows - 1, static_cast<std::uint64_t>(row)), std::min(m_columns - 1, static_cast<std::uint64_t>(column))};
    }
    return std::nullopt;
}

} // namespace shardlens::ui
