#include "ui/widgets/tensor_picture_layout.h"

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

// Number of tiles, rows and columns of a shape.
void planeOf(ShapeView units, const std::optional<PictureAxes>& wanted, PictureBoxes& out)
{
    out.rank = units.size();
    if (out.rank >= 2)
        out.axes = wanted && wanted->row < wanted->column && wanted->column < out.rank ? *wanted : PictureAxes{out.rank - 2, out.rank - 1};
    out.columns = out.rank >= 1 ? units[out.axes.column] : 1;
    out.rows = out.rank >= 2 ? units[out.axes.row] : 1;
    for (std::size_t axis = 0; out.rank > 2 && axis < out.rank; ++axis) {
        if (axis == out.axes.row || axis == out.axes.column)
            continue;
        out.folded.push_back(axis);
        out.foldedExtents.push_back(units[axis]);
        out.tiles *= units[axis];
    }
}

// Collects boxes in the plane for every tile that shows.
class BoxCollector {
public:
    BoxCollector(ShapeView units, PictureBoxes& out, std::uint64_t tile) : m_units(units), m_plane(out)
    {
        if (out.tiles > PictureLayout::kMostTiles)
            m_onlyTile = tile;
    }

    void add(const RegionView& region, const PictureBox& prototype, std::vector<PictureBox>& out)
    {
        if (volumeOf(region) == 0)
            return;
        if (const auto* flat = std::get_if<FlatRange>(&region))
            return forEachBox(*flat, m_units, [&](const Box& box) { addBox(box, prototype, out); });
        const auto& box = std::get<BoxView>(region);
        m_plane.isGrid = m_plane.isGrid || (m_plane.rank >= 2 && prototype.piece && box.extent[m_plane.axes.column] < m_plane.columns);
        addBox(box, prototype, out);
    }

private:
    void addBox(const BoxView& box, PictureBox prototype, std::vector<PictureBox>& out)
    {
        const std::size_t rank = m_plane.rank;
        prototype.column = rank >= 1 ? box.offset[m_plane.axes.column] : 0;
        prototype.columns = rank >= 1 ? box.extent[m_plane.axes.column] : 1;
        prototype.row = rank >= 2 ? box.offset[m_plane.axes.row] : 0;
        prototype.rows = rank >= 2 ? box.extent[m_plane.axes.row] : 1;
        if (rank <= 2) {
            out.push_back(prototype);
            return;
        }
        Box folded;
        for (const std::size_t axis : m_plane.folded) {
            folded.offset.push_back(box.offset[axis]);
            folded.extent.push_back(box.extent[axis]);
        }
        if (m_onlyTile) {
            prototype.tile = *m_onlyTile;
            if (holdsTile(folded, *m_onlyTile))
                out.push_back(prototype);
            return;
        }
        forEachRun(folded, m_plane.foldedExtents, [&](FlatRange tiles) {
            for (prototype.tile = tiles.begin; prototype.tile < tiles.end; ++prototype.tile)
                out.push_back(prototype);
        });
    }

    [[nodiscard]] bool holdsTile(const Box& folded, std::uint64_t tile) const
    {
        for (std::size_t axis = folded.offset.size(); axis-- > 0;) {
            const std::uint64_t at = tile % m_plane.foldedExtents[axis];
            tile /= m_plane.foldedExtents[axis];
            if (at < folded.offset[axis] || at - folded.offset[axis] >= folded.extent[axis])
                return false;
        }
        return true;
    }

    ShapeView m_units;
    PictureBoxes& m_plane;
    std::optional<std::uint64_t> m_onlyTile;
};

// By axis: whether a piece ends inside of it.
std::vector<bool> cutAxes(const Checkpoint& checkpoint, TensorId tensor, ShapeView units)
{
    std::vector<bool> out(units.size());
    const auto look = [&](const BoxView& box) {
        for (std::size_t axis = 0; axis < units.size(); ++axis)
            out[axis] = out[axis] || box.extent[axis] != units[axis];
    };
    for (std::size_t row = checkpoint.pieces().firstOf(tensor); row < checkpoint.pieces().lastOf(tensor); ++row) {
        const Piece piece = checkpoint.pieces().at(idAt<PieceId>(row));
        if (const auto* flat = std::get_if<FlatRange>(&piece.region))
            forEachBox(*flat, units, look);
        else
            look(std::get<BoxView>(piece.region));
    }
    return out;
}

QString factorText(double factor)
{
    if (factor < 1.05)
        return {};
    return QString::number(factor, 'f', factor < 10 ? 1 : 0);
}

} // namespace

Shape PictureBoxes::placeOf(std::uint64_t tile, std::uint64_t row, std::uint64_t column) const
{
    Shape out(rank, 0);
    for (std::size_t i = folded.size(); i-- > 0;) {
        out[folded[i]] = tile % foldedExtents[i];
        tile /= foldedExtents[i];
    }
    if (rank >= 2)
        out[axes.row] = row;
    if (rank >= 1)
        out[axes.column] = column;
    return out;
}

std::uint64_t PictureBoxes::tileOf(ShapeView place) const
{
    std::uint64_t out = 0;
    for (std::size_t i = 0; i < folded.size(); ++i)
        out = out * foldedExtents[i] + place[folded[i]];
    return out;
}

PictureAxes bestAxesOf(const Checkpoint& checkpoint, TensorId tensor)
{
    const Shape units = unitShape(checkpoint.tensor(tensor).shape, checkpoint.tensor(tensor).dtype);
    const std::size_t rank = units.size();
    if (rank < 2)
        return {};
    PictureAxes best{rank - 2, rank - 1};
    std::uint64_t all = 1;
    for (const std::uint64_t extent : units)
        all *= extent;
    const auto plane = [&](const PictureAxes& axes) { return std::max<std::uint64_t>(units[axes.row] * units[axes.column], 1); };
    if (all / plane(best) <= PictureLayout::kMostTiles)
        return best;
    const std::vector<bool> cut = cutAxes(checkpoint, tensor, units);
    const auto worth = [&](const PictureAxes& axes) { return std::pair(int{cut[axes.row]} + int{cut[axes.column]}, plane(axes)); };
    for (std::size_t row = rank - 1; row-- > 0;)
        for (std::size_t column = rank; column-- > row + 1;)
            if (worth({row, column}) > worth(best))
                best = {row, column};
    return best;
}

PictureBoxes pictureBoxesOf(const Checkpoint& checkpoint, TensorId tensor, const TensorFaults& faults, const PictureRequest& request)
{
    const Tensor& owner = checkpoint.tensor(tensor);
    const Shape units = unitShape(owner.shape, owner.dtype);
    PictureBoxes out;
    planeOf(units, request.axes, out);
    BoxCollector collector(units, out, request.tile);
    const auto isMissing = [&](PieceId id) { return checkpoint.stream(checkpoint.pieces().at(id).source.stream).kind == Stream::Kind::Missing; };
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
    std::map<PieceId, std::size_t> missing;
    for (std::size_t i = 0; i < faults.list.size(); ++i)
        if (faults.list[i].kind == TensorFault::Kind::Missing)
            missing.try_emplace(*faults.list[i].first, i);
    for (const Region& region : order) {
        std::vector<PieceId>& same = byRegion[region];
        std::stable_partition(same.begin(), same.end(), [&](PieceId id) { return !isMissing(id); }); // what is there is shown first
        PictureBox prototype;
        prototype.piece = same[request.copy % same.size()];
        prototype.copies = static_cast<std::uint32_t>(same.size());
        prototype.missing = isMissing(*prototype.piece);
        if (const auto at = missing.find(*prototype.piece); prototype.missing && at != missing.end())
            prototype.fault = at->second;
        out.copies = std::max(out.copies, prototype.copies);
        collector.add(viewOf(region), prototype, out.boxes);
    }
    for (std::size_t i = 0; i < faults.list.size(); ++i) {
        const TensorFault& fault = faults.list[i];
        PictureBox prototype;
        prototype.fault = i;
        if (fault.kind == TensorFault::Kind::Missing)
            continue; // its piece is among them already
        if (fault.kind == TensorFault::Kind::Overlap)
            prototype.piece = fault.first;
        collector.add(viewOf(fault.region), prototype, fault.kind == TensorFault::Kind::Overlap ? out.overlaps : out.boxes);
    }
    return out;
}

PictureBoxes pictureBoxesOf(ShapeView shape, const std::vector<Box>& boxes, std::uint64_t tile)
{
    PictureBoxes out;
    planeOf(shape, std::nullopt, out);
    BoxCollector collector(shape, out, tile);
    for (std::size_t i = 0; i < boxes.size(); ++i) {
        PictureBox prototype;
        prototype.piece = idAt<PieceId>(i);
        collector.add(BoxView(boxes[i]), prototype, out.boxes);
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

bool holds(const PictureBox& box, const PictureLayout::Cell& cell)
{
    return box.tile == cell.tile && cell.row >= box.row && cell.row - box.row < box.rows && cell.column >= box.column && cell.column - box.column < box.columns;
}

} // namespace shardlens::ui
