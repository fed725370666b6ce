#include "ui/models/atlas_table.h"

#include "ui/models/atlas_text.h"
#include "ui/models/column_heading.h"

#include <algorithm>
#include <array>
#include <limits>

namespace shardlens::ui {
namespace {

struct ColumnSpec {
    const char* title;
    Qt::Alignment alignment;
};

const std::array<ColumnSpec, AtlasTable::ColumnCount> kColumns{{
    {QT_TRANSLATE_NOOP("AtlasTable", "Rank"), Qt::AlignLeft},
    {QT_TRANSLATE_NOOP("AtlasTable", "State"), Qt::AlignLeft},
    {QT_TRANSLATE_NOOP("AtlasTable", "Tensor"), Qt::AlignLeft},
    {QT_TRANSLATE_NOOP("AtlasTable", "Box"), Qt::AlignLeft},
    {QT_TRANSLATE_NOOP("AtlasTable", "Offset"), Qt::AlignRight},
    {QT_TRANSLATE_NOOP("AtlasTable", "Bytes"), Qt::AlignRight},
    {QT_TRANSLATE_NOOP("AtlasTable", "File"), Qt::AlignLeft},
}};

} // namespace

void AtlasTable::setModel(AtlasModelPtr model)
{
    beginResetModel();
    m_model = std::move(model);
    m_firstRow.assign(1, 0);
    if (m_model)
        for (const AtlasLane& lane : m_model->lanes())
            m_firstRow.push_back(m_firstRow.back() + lane.size());
    endResetModel();
}

PieceId AtlasTable::pieceAt(int row) const
{
    const auto at = static_cast<std::size_t>(row);
    const auto lane = std::upper_bound(m_firstRow.begin(), m_firstRow.end(), at) - m_firstRow.begin() - 1;
    return m_model->lanes()[static_cast<std::size_t>(lane)].pieces[at - m_firstRow[static_cast<std::size_t>(lane)]];
}

int AtlasTable::rowOf(PieceId piece) const
{
    const auto place = m_model ? m_model->placeOf(piece) : std::nullopt;
    return place ? static_cast<int>(m_firstRow[place->lane] + place->index) : -1;
}

int AtlasTable::rowCount(const QModelIndex& parent) const
{
    if (parent.isValid() || m_firstRow.empty())
        return 0;
    return static_cast<int>(std::min<std::size_t>(m_firstRow.back(), std::numeric_limits<int>::max()));
}

int AtlasTable::columnCount(const QModelIndex& parent) const
{
    return parent.isValid() ? 0 : static_cast<int>(ColumnCount);
}

QString AtlasTable::textAt(PieceId piece, int column) const
{
    const Checkpoint& checkpoint = m_model->checkpoint();
    const Piece at = checkpoint.pieces().at(piece);
    const shardlens::Tensor& tensor = checkpoint.tensor(m_model->tensorOf(piece));
    const Stream& from = checkpoint.stream(at.source.stream);
    switch (column) {
    case Rank: {
        const auto rank = checkpoint.rankOfPiece(at);
        return rank ? QString::number(*rank) : QString();
    }
    case State: return printableText(checkpoint.roleOf(m_model->tensorOf(piece)).name);
    case Tensor: return printableText(checkpoint.parameterOf(m_model->tensorOf(piece)));
    case Box: return regionWords(at.region, unitShape(tensor.shape, tensor.dtype));
    case Offset: return from.kind == Stream::Kind::File ? numberText(at.source.offset) : from.kind == Stream::Kind::Missing ? tr("missing") : QString();
    case Bytes: return numberText(volumeOf(at.region) * info(tensor.dtype).bytesPerBlock);
    case FileName: return from.file == kNoFile ? QString() : printableText(checkpoint.file(from.file).name);
    default: return {};
    }
}

QVariant AtlasTable::data(const QModelIndex& index, int role) const
{
    if (!checkIndex(index, CheckIndexOption::IndexIsValid))
        return {};
    switch (role) {
    case Qt::DisplayRole:
    case Qt::ToolTipRole: return textAt(pieceAt(index.row()), index.column());
    case Qt::TextAlignmentRole: return int(kColumns[static_cast<std::size_t>(index.column())].alignment | Qt::AlignVCenter);
    default: return {};
    }
}

QVariant AtlasTable::headerData(int section, Qt::Orientation orientation, int role) const
{
    return columnHeading(kColumns, section, orientation, role);
}

} // namespace shardlens::ui
