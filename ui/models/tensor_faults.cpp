#include "ui/models/tensor_faults.h"

#include "core/model/coverage.h"
#include "ui/models/atlas_text.h"
#include "ui/models/column_heading.h"
#include "ui/theme/theme.h"

#include <QCoreApplication>

#include <algorithm>
#include <array>
#include <limits>
#include <map>
#include <utility>

namespace shardlens::ui {
namespace {

struct FaultText {
    Q_DECLARE_TR_FUNCTIONS(TensorFaults)
};

constexpr std::uint64_t kMostGridCells = 1u << 21;
constexpr std::uint64_t kMostVisits = 1u << 24; // of cells by boxes: pieces that hold the same again and again
constexpr std::uint32_t kNobody = std::numeric_limits<std::uint32_t>::max();

struct HeldBox {
    Box box;
    PieceId piece;
    bool isMissing;
};

// What is the matter with one cell of the grid; kNobody where there is no such piece.
struct CellState {
    std::uint32_t first = kNobody;  // of HeldBox
    std::uint32_t second = kNobody;
    auto operator<=>(const CellState&) const = default;
};

// The borders of all boxes cut the tensor into a grid whose cells are held by the same pieces throughout.
class FaultGrid {
public:
    // `units`: the space of the boxes. False: it is too fine.
    bool build(ShapeView units, const std::vector<HeldBox>& boxes)
    {
        m_boxes = &boxes;
        m_cuts.assign(units.size(), {});
        std::uint64_t cells = 1;
        for (std::size_t axis = 0; axis < units.size(); ++axis) {
            auto& cuts = m_cuts[axis];
            cuts = {0, units[axis]};
            for (const HeldBox& held : boxes) {
                cuts.push_back(held.box.offset[axis]);
                cuts.push_back(held.box.offset[axis] + held.box.extent[axis]);
            }
            std::sort(cuts.begin(), cuts.end());
            cuts.erase(std::unique(cuts.begin(), cuts.end()), cuts.end());
            const std::uint64_t count = cuts.size() - 1;
            if (count == 0 || cells > kMostGridCells / count)
                return count == 0; // a tensor without values has nothing to hold
            cells *= count;
            m_counts.push_back(count);
        }
        m_cells.assign(cells, {});
        for (const bool missing : {false, true}) // what is there counts before what should be
            for (std::uint32_t i = 0; i < boxes.size(); ++i)
                if (boxes[i].isMissing == missing && !mark(i))
                    return false;
        return true;
    }

    template <typename Visit> // (const Box& box, CellState state)
    void forEachFault(const Visit& visit)
    {
        std::vector<bool> done(m_cells.size());
        for (std::uint64_t cell = 0; cell < m_cells.size(); ++cell)
            if (!done[cell] && isFault(m_cells[cell]))
                visit(boxOf(grow(cell, done)), m_cells[cell]);
    }

    [[nodiscard]] bool isMissing(CellState state) const { return state.first != kNobody && (*m_boxes)[state.first].isMissing; }

private:
    [[nodiscard]] bool isFault(CellState state) const { return state.first == kNobody || state.second != kNobody || isMissing(state); }

    [[nodiscard]] std::uint64_t at(std::size_t axis, std::uint64_t cut) const
    {
        return static_cast<std::uint64_t>(std::lower_bound(m_cuts[axis].begin(), m_cuts[axis].end(), cut) - m_cuts[axis].begin());
    }

    bool mark(std::uint32_t index)
    {
        const HeldBox& held = (*m_boxes)[index];
        Box grid;
        std::uint64_t volume = 1;
        for (std::size_t axis = 0; axis < m_cuts.size(); ++axis) {
            grid.offset.push_back(at(axis, held.box.offset[axis]));
            grid.extent.push_back(at(axis, held.box.offset[axis] + held.box.extent[axis]) - grid.offset.back());
            volume *= grid.extent.back();
        }
        m_visits += volume; // a product of counts of the grid, which is limited
        if (m_visits > kMostVisits)
            return false;
        forEachRun(grid, m_counts, [&](FlatRange run) {
            for (std::uint64_t cell = run.begin; cell < run.end; ++cell) {
                CellState& state = m_cells[cell];
                if (state.first == kNobody)
                    state.first = index;
                else if (!held.isMissing && state.second == kNobody && (*m_boxes)[state.first].piece != held.piece)
                    state.second = index;
            }
        });
        return true;
    }

    // The largest box of equal cells from here, along the last axis first. Marks it as done.
    Box grow(std::uint64_t cell, std::vector<bool>& done) const
    {
        Box out{indexAt(cell, m_counts), Shape(m_counts.size(), 1)};
        const auto isFree = [&](const Box& slab) {
            bool free = true;
            forEachRun(slab, m_counts, [&](FlatRange run) {
                for (std::uint64_t i = run.begin; i < run.end && free; ++i)
                    free = !done[i] && m_cells[i] == m_cells[cell];
            });
            return free;
        };
        for (std::size_t axis = m_counts.size(); axis-- > 0;) {
            Box slab = out;
            slab.extent[axis] = 1;
            while (out.offset[axis] + out.extent[axis] < m_counts[axis]) {
                slab.offset[axis] = out.offset[axis] + out.extent[axis];
                if (!isFree(slab))
                    break;
                ++out.extent[axis];
            }
        }
        forEachRun(out, m_counts, [&](FlatRange run) { std::fill(done.begin() + static_cast<std::ptrdiff_t>(run.begin), done.begin() + static_cast<std::ptrdiff_t>(run.end), true); });
        return out;
    }

    [[nodiscard]] Box boxOf(const Box& grid) const
    {
        Box out;
        for (std::size_t axis = 0; axis < m_cuts.size(); ++axis) {
            out.offset.push_back(m_cuts[axis][grid.offset[axis]]);
            out.extent.push_back(m_cuts[axis][grid.offset[axis] + grid.extent[axis]] - out.offset.back());
        }
        return out;
    }

    const std::vector<HeldBox>* m_boxes = nullptr;
    std::vector<Shape> m_cuts;
    Shape m_counts; // cells of the grid along each axis
    std::vector<CellState> m_cells;
    std::uint64_t m_visits = 0;
};

std::uint64_t firstCellOf(const Region& region, ShapeView units)
{
    if (const auto* flat = std::get_if<FlatRange>(&region))
        return flat->begin;
    const Box& box = std::get<Box>(region);
    const Shape strides = rowMajorStrides(units);
    std::uint64_t out = 0;
    for (std::size_t axis = 0; axis < strides.size(); ++axis)
        out += strides[axis] * box.offset[axis];
    return out;
}

class FaultFinder {
public:
    FaultFinder(const Checkpoint& checkpoint, TensorId tensor)
        : m_checkpoint(checkpoint), m_tensor(tensor), m_units(unitShape(checkpoint.tensor(tensor).shape, checkpoint.tensor(tensor).dtype))
    {
    }

    TensorFaults run()
    {
        for (const std::vector<PieceId>& ids : summandsOf(m_checkpoint, m_tensor))
            if (!searchGrid(ids))
                return askCoverage();
        finish();
        return std::move(m_out);
    }

private:
    [[nodiscard]] bool isMissing(const Piece& piece) const { return m_checkpoint.stream(piece.source.stream).kind == Stream::Kind::Missing; }

    // One of each region where equal regions are copies, one that is there if there is one.
    [[nodiscard]] std::vector<PieceId> withoutCopies(const std::vector<PieceId>& ids) const
    {
        if (m_checkpoint.tensor(m_tensor).combine == Combine::Exclusive)
            return ids;
        std::map<Region, PieceId> chosen;
        for (const PieceId id : ids) {
            const Piece piece = m_checkpoint.pieces().at(id);
            const auto [at, isNew] = chosen.try_emplace(copyOf(piece.region), id);
            if (!isNew && isMissing(m_checkpoint.pieces().at(at->second)) && !isMissing(piece))
                at->second = id;
        }
        std::vector<PieceId> out;
        for (const auto& [region, id] : chosen)
            out.push_back(id);
        std::sort(out.begin(), out.end());
        return out;
    }

    bool searchGrid(const std::vector<PieceId>& all)
    {
        const std::vector<PieceId> ids = withoutCopies(all);
        const bool isFlat = std::all_of(ids.begin(), ids.end(), [this](PieceId id) { return std::holds_alternative<FlatRange>(m_checkpoint.pieces().at(id).region); });
        const Shape flatUnits{elementCount(m_units).value_or(0)};
        std::vector<HeldBox> boxes;
        for (const PieceId id : ids) {
            const Piece piece = m_checkpoint.pieces().at(id);
            const bool missing = isMissing(piece);
            const auto add = [&](const BoxView& box) {
                boxes.push_back({{Shape(box.offset.begin(), box.offset.end()), Shape(box.extent.begin(), box.extent.end())}, id, missing});
            };
            if (volumeOf(piece.region) == 0)
                continue;
            const auto* flat = std::get_if<FlatRange>(&piece.region);
            if (flat == nullptr)
                add(std::get<BoxView>(piece.region));
            else if (isFlat)
                add(Box{{flat->begin}, {flat->size()}});
            else
                forEachBox(*flat, m_units, [&](const Box& box) { add(box); });
        }
        FaultGrid grid;
        if (!grid.build(isFlat ? ShapeView(flatUnits) : ShapeView(m_units), boxes))
            return false;
        grid.forEachFault([&](const Box& box, CellState state) { addFault(box, isFlat, state, boxes); });
        return true;
    }

    void addFault(const Box& box, bool isFlat, CellState state, const std::vector<HeldBox>& boxes)
    {
        TensorFault fault;
        fault.kind = state.second != kNobody ? TensorFault::Kind::Overlap : state.first != kNobody ? TensorFault::Kind::Missing : TensorFault::Kind::Hole;
        if (state.first != kNobody)
            fault.first = boxes[state.first].piece;
        if (state.second != kNobody)
            fault.second = boxes[state.second].piece;
        (fault.kind == TensorFault::Kind::Overlap ? m_out.doubleCells : m_out.missingCells) += box.volume();
        keep(fault, isFlat ? Region(FlatRange{box.offset.front(), box.offset.front() + box.extent.front()}) : Region(box));
    }

    void keep(TensorFault fault, Region region)
    {
        if (m_kept.size() >= TensorFaults::kMost) {
            m_out.listsAll = false;
            return;
        }
        fault.region = std::move(region);
        m_kept.push_back(std::move(fault));
    }

    // The grid is too fine: the engine's sweep counts exactly, and lists its first runs.
    TensorFaults askCoverage()
    {
        m_out = {};
        m_kept.clear();
        const Coverage coverage = coverageOf(m_checkpoint, m_tensor, TensorFaults::kMost);
        const bool areCopies = m_checkpoint.tensor(m_tensor).combine != Combine::Exclusive;
        std::uint64_t listed = 0;
        for (const Hole& hole : coverage.holes) {
            listed += volumeOf(viewOf(hole.region));
            keep({hole.expected ? TensorFault::Kind::Missing : TensorFault::Kind::Hole, {}, hole.expected, std::nullopt}, hole.region);
        }
        for (const Overlap& overlap : coverage.overlaps) {
            const PieceStore& pieces = m_checkpoint.pieces();
            if (areCopies && copyOf(pieces.at(overlap.first).region) == copyOf(pieces.at(overlap.second).region))
                continue;
            m_out.doubleCells += volumeOf(viewOf(overlap.region));
            keep({TensorFault::Kind::Overlap, {}, overlap.first, overlap.second}, overlap.region);
        }
        m_out.missingCells = coverage.missingCells;
        m_out.listsAll = m_out.listsAll && listed == coverage.missingCells && coverage.overlaps.size() == coverage.overlappingPairs;
        finish();
        return std::move(m_out);
    }

    void finish()
    {
        std::stable_sort(m_kept.begin(), m_kept.end(), [this](const TensorFault& a, const TensorFault& b) {
            return std::pair(a.kind == TensorFault::Kind::Overlap, firstCellOf(a.region, m_units)) < std::pair(b.kind == TensorFault::Kind::Overlap, firstCellOf(b.region, m_units));
        });
        m_out.list = std::move(m_kept);
    }

    const Checkpoint& m_checkpoint;
    TensorId m_tensor;
    Shape m_units;
    TensorFaults m_out;
    std::vector<TensorFault> m_kept;
};

QString numbersText(const Shape& numbers)
{
    QStringList parts;
    for (const std::uint64_t number : numbers)
        parts << QString::number(number);
    return QLatin1Char('[') + parts.join(QStringLiteral(", ")) + QLatin1Char(']');
}

struct FaultColumn {
    const char* title;
    Qt::Alignment alignment;
    QString (*text)(const Checkpoint& checkpoint, TensorId tensor, const TensorFault& fault);
};

Shape unitsOf(const Checkpoint& checkpoint, TensorId tensor)
{
    return unitShape(checkpoint.tensor(tensor).shape, checkpoint.tensor(tensor).dtype);
}

QString faultOffsetText(const Checkpoint& checkpoint, TensorId tensor, const TensorFault& fault)
{
    if (const auto* flat = std::get_if<FlatRange>(&fault.region))
        return numbersText(indexAt(flat->begin, unitsOf(checkpoint, tensor)));
    return numbersText(std::get<Box>(fault.region).offset);
}

// Of a run of row-major order: how long it is.
QString faultExtentText(const Checkpoint&, TensorId, const TensorFault& fault)
{
    if (const auto* flat = std::get_if<FlatRange>(&fault.region))
        return numberText(flat->size());
    return numbersText(std::get<Box>(fault.region).extent);
}

QString faultWhoText(const Checkpoint& checkpoint, TensorId, const TensorFault& fault)
{
    switch (fault.kind) {
    case TensorFault::Kind::Hole: return FaultText::tr("nobody");
    case TensorFault::Kind::Missing: return FaultText::tr("should be in %1").arg(placeWords(checkpoint, *fault.first));
    case TensorFault::Kind::Overlap:
        return FaultText::tr("%1, and %2", "two places").arg(placeWords(checkpoint, *fault.first), placeWords(checkpoint, *fault.second));
    }
    return {};
}

const std::array<FaultColumn, TensorFaultRows::ColumnCount> kFaultColumns{{
    {QT_TRANSLATE_NOOP("TensorFaultRows", "What"), Qt::AlignLeft, [](const Checkpoint&, TensorId, const TensorFault& fault) { return faultWord(fault.kind); }},
    {QT_TRANSLATE_NOOP("TensorFaultRows", "Where"), Qt::AlignLeft,
     [](const Checkpoint& checkpoint, TensorId tensor, const TensorFault& fault) { return regionWords(viewOf(fault.region), unitsOf(checkpoint, tensor)); }},
    {QT_TRANSLATE_NOOP("TensorFaultRows", "Who"), Qt::AlignLeft, faultWhoText},
    {QT_TRANSLATE_NOOP("TensorFaultRows", "Values"), Qt::AlignRight, [](const Checkpoint&, TensorId, const TensorFault& fault) { return numberText(volumeOf(viewOf(fault.region))); }},
    {QT_TRANSLATE_NOOP("TensorFaultRows", "Offset"), Qt::AlignLeft, faultOffsetText},
    {QT_TRANSLATE_NOOP("TensorFaultRows", "Size"), Qt::AlignLeft, faultExtentText},
}};

} // namespace

TensorFaults faultsOf(const Checkpoint& checkpoint, TensorId tensor)
{
    return FaultFinder(checkpoint, tensor).run();
}

QString TensorFaults::sentence() const
{
    std::size_t holes = 0;
    for (const TensorFault& fault : list)
        holes += fault.kind == TensorFault::Kind::Overlap ? 0 : 1;
    QStringList parts;
    if (missingCells > 0 && listsAll)
        parts << FaultText::tr("%1 of %2", "holes, of how many values")
                     .arg(counted(holes, FaultText::tr("1 hole"), FaultText::tr("%1 holes")), counted(missingCells, FaultText::tr("1 value"), FaultText::tr("%1 values")));
    else if (missingCells > 0)
        parts << FaultText::tr("%1 that nobody holds").arg(counted(missingCells, FaultText::tr("1 value"), FaultText::tr("%1 values")));
    if (const std::size_t twice = list.size() - holes; twice > 0)
        parts << counted(twice, FaultText::tr("1 part held twice"), FaultText::tr("%1 parts held twice"));
    if (!listsAll && !parts.isEmpty())
        parts << FaultText::tr("the first %1 are listed").arg(numberText(list.size()));
    return parts.join(QStringLiteral(", "));
}

QString faultWord(TensorFault::Kind kind)
{
    switch (kind) {
    case TensorFault::Kind::Hole: return FaultText::tr("hole");
    case TensorFault::Kind::Missing: return FaultText::tr("file missing");
    case TensorFault::Kind::Overlap: return FaultText::tr("held twice");
    }
    return {};
}

QString placeWords(const Checkpoint& checkpoint, PieceId id)
{
    const Piece piece = checkpoint.pieces().at(id);
    const Stream& from = checkpoint.stream(piece.source.stream);
    QString file = from.file == kNoFile ? FaultText::tr("no file") : printableText(checkpoint.file(from.file).name);
    if (from.kind == Stream::Kind::File)
        file = FaultText::tr("%1 at %2", "file, offset").arg(file, numberText(piece.source.offset));
    const auto rank = checkpoint.rankOfPiece(piece);
    return rank ? FaultText::tr("rank %1, %2").arg(QString::number(*rank), file) : file;
}

QString faultSentence(const Checkpoint& checkpoint, TensorId tensor, const TensorFault& fault)
{
    const QString where = FaultText::tr("%1: %2, %3", "what, where, how many values")
                              .arg(faultWord(fault.kind), regionWords(viewOf(fault.region), unitsOf(checkpoint, tensor)),
                                   counted(volumeOf(viewOf(fault.region)), FaultText::tr("1 value"), FaultText::tr("%1 values")));
    return FaultText::tr("%1: %2", "what and where, who").arg(where, faultWhoText(checkpoint, tensor, fault));
}

void TensorFaultRows::show(CheckpointPtr checkpoint, TensorId tensor, const TensorFaults& faults)
{
    beginResetModel();
    m_checkpoint = std::move(checkpoint);
    m_tensor = tensor;
    m_faults = m_checkpoint ? faults.list : std::vector<TensorFault>{};
    endResetModel();
}

int TensorFaultRows::rowCount(const QModelIndex& parent) const
{
    return parent.isValid() ? 0 : static_cast<int>(m_faults.size());
}

int TensorFaultRows::columnCount(const QModelIndex& parent) const
{
    return parent.isValid() ? 0 : static_cast<int>(ColumnCount);
}

QVariant TensorFaultRows::data(const QModelIndex& index, int role) const
{
    if (!checkIndex(index, CheckIndexOption::IndexIsValid))
        return {};
    const FaultColumn& column = kFaultColumns[static_cast<std::size_t>(index.column())];
    const TensorFault& fault = faultAt(index.row());
    switch (role) {
    case Qt::DisplayRole: return column.text(*m_checkpoint, m_tensor, fault);
    case Qt::ToolTipRole: return faultSentence(*m_checkpoint, m_tensor, fault).toHtmlEscaped();
    case Qt::TextAlignmentRole: return int(column.alignment | Qt::AlignVCenter);
    case Qt::ForegroundRole:
        return index.column() == What ? QVariant(Theme::current().colour(fault.kind == TensorFault::Kind::Overlap ? Token::Warn : Token::Error)) : QVariant();
    default: return {};
    }
}

QVariant TensorFaultRows::headerData(int section, Qt::Orientation orientation, int role) const
{
    return columnHeading(kFaultColumns, section, orientation, role);
}

} // namespace shardlens::ui
