#include "ui/pages/safety/opcode_lines.h"

#include "ui/models/atlas_text.h"
#include "ui/theme/theme.h"

#include <algorithm>
#include <limits>

namespace shardlens::ui {

void OpcodeLines::show(std::shared_ptr<const PickleListing> listing)
{
    beginResetModel();
    m_listing = std::move(listing);
    m_marked = -1;
    endResetModel();
}

void OpcodeLines::mark(int row)
{
    m_marked = row;
    if (rowCount() > 0)
        emit dataChanged(index(0, 0), index(rowCount() - 1, ColumnCount - 1), {Qt::BackgroundRole, Qt::FontRole});
}

int OpcodeLines::rowCount(const QModelIndex& parent) const
{
    constexpr std::size_t kMost = std::numeric_limits<int>::max();
    return parent.isValid() || !m_listing ? 0 : static_cast<int>(std::min(m_listing->lines(), kMost));
}

int OpcodeLines::columnCount(const QModelIndex& parent) const
{
    return parent.isValid() ? 0 : ColumnCount;
}

QVariant OpcodeLines::data(const QModelIndex& index, int role) const
{
    if (!checkIndex(index, CheckIndexOption::IndexIsValid))
        return {};
    const Theme& theme = Theme::current();
    const bool isMarked = index.row() == m_marked;
    switch (role) {
    case Qt::DisplayRole: case Qt::ToolTipRole: {
        const PickleListing::Line line = m_listing->line(static_cast<std::size_t>(index.row()));
        return index.column() == Offset ? numberText(line.offset) : printableText(index.column() == Opcode ? line.opcode : line.argument);
    }
    case Qt::FontRole: {
        QFont font = theme.font(TextStyle::Mono);
        font.setBold(isMarked);
        return font;
    }
    case Qt::ForegroundRole: return theme.colour(index.column() == Offset ? Token::Text3 : Token::Text);
    case Qt::BackgroundRole: return isMarked ? QVariant(theme.colour(Token::WarnWeak)) : QVariant();
    case Qt::TextAlignmentRole: return QVariant::fromValue(Qt::AlignVCenter | (index.column() == Offset ? Qt::AlignRight : Qt::AlignLeft));
    default: return {};
    }
}

QVariant OpcodeLines::headerData(int section, Qt::Orientation orientation, int role) const
{
    if (orientation != Qt::Horizontal)
        return {};
    if (role == Qt::TextAlignmentRole)
        return QVariant::fromValue(Qt::AlignVCenter | (section == Offset ? Qt::AlignRight : Qt::AlignLeft));
    if (role != Qt::DisplayRole)
        return {};
    switch (section) {
    case Offset: return tr("offset");
    case Opcode: return tr("opcode");
    case Argument: return tr("argument");
    default: return {};
    }
}

} // namespace shardlens::ui
