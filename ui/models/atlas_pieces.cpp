#include "ui/models/atlas_pieces.h"

#include "ui/models/atlas_text.h"
#include "ui/models/column_heading.h"
#include "ui/theme/theme.h"

#include <array>

namespace shardlens::ui {
namespace {

struct ColumnSpec {
    const char* title;
    Qt::Alignment alignment;
    QString (*text)(const PieceFacts& facts, const Checkpoint& checkpoint, const Piece& piece);
};

QString rankText(const PieceFacts&, const Checkpoint& checkpoint, const Piece& piece)
{
    const auto rank = checkpoint.rankOfPiece(piece);
    return rank ? QString::number(*rank) : QString();
}

QString offsetText(const PieceFacts&, const Checkpoint& checkpoint, const Piece& piece)
{
    const Stream::Kind kind = checkpoint.stream(piece.source.stream).kind;
    return kind == Stream::Kind::File ? numberText(piece.source.offset) : kind == Stream::Kind::Missing ? TensorPieces::tr("missing") : QString();
}

const std::array<ColumnSpec, TensorPieces::ColumnCount> kColumns{{
    {QT_TRANSLATE_NOOP("TensorPieces", "Rank"), Qt::AlignLeft, rankText},
    {QT_TRANSLATE_NOOP("TensorPieces", "Box"), Qt::AlignLeft, [](const PieceFacts& facts, const Checkpoint&, const Piece&) { return facts.box; }},
    {QT_TRANSLATE_NOOP("TensorPieces", "Size"), Qt::AlignRight, [](const PieceFacts& facts, const Checkpoint&, const Piece&) { return facts.size; }},
    {QT_TRANSLATE_NOOP("TensorPieces", "Offset"), Qt::AlignRight, offsetText},
    {QT_TRANSLATE_NOOP("TensorPieces", "File"), Qt::AlignLeft, [](const PieceFacts& facts, const Checkpoint&, const Piece&) { return facts.file; }},
}};

} // namespace

void TensorPieces::setTensor(CheckpointPtr checkpoint, TensorId tensor)
{
    beginResetModel();
    m_checkpoint = std::move(checkpoint);
    m_tensor = tensor;
    endResetModel();
}

PieceId TensorPieces::pieceAt(int row) const
{
    return idAt<PieceId>(m_checkpoint->pieces().firstOf(m_tensor) + static_cast<std::size_t>(row));
}

int TensorPieces::rowOf(PieceId piece) const
{
    if (!m_checkpoint || indexOf(piece) < m_checkpoint->pieces().firstOf(m_tensor) || indexOf(piece) >= m_checkpoint->pieces().lastOf(m_tensor))
        return -1;
    return static_cast<int>(indexOf(piece) - m_checkpoint->pieces().firstOf(m_tensor));
}

int TensorPieces::rowCount(const QModelIndex& parent) const
{
    return parent.isValid() || !m_checkpoint ? 0 : static_cast<int>(m_checkpoint->pieces().countOf(m_tensor));
}

int TensorPieces::columnCount(const QModelIndex& parent) const
{
    return parent.isValid() ? 0 : static_cast<int>(ColumnCount);
}

QVariant TensorPieces::data(const QModelIndex& index, int role) const
{
    if (!checkIndex(index, CheckIndexOption::IndexIsValid))
        return {};
    const ColumnSpec& column = kColumns[static_cast<std::size_t>(index.column())];
    const Piece piece = m_checkpoint->pieces().at(pieceAt(index.row()));
    switch (role) {
    case Qt::DisplayRole:
    case Qt::ToolTipRole: return column.text(factsOf(*m_checkpoint, piece.id), *m_checkpoint, piece);
    case Qt::TextAlignmentRole: return int(column.alignment | Qt::AlignVCenter);
    case Qt::ForegroundRole:
        return m_checkpoint->stream(piece.source.stream).kind == Stream::Kind::Missing ? QVariant(Theme::current().colour(Token::Error)) : QVariant();
    case Qt::DecorationRole:
        if (const auto rank = m_checkpoint->rankOfPiece(piece); rank && index.column() == Rank)
            return Theme::current().categorical(static_cast<int>(*rank));
        return {};
    default: return {};
    }
}

QVariant TensorPieces::headerData(int section, Qt::Orientation orientation, int role) const
{
    return columnHeading(kColumns, section, orientation, role);
}

} // namespace shardlens::ui
