#include "ui/pages/tensors/tensor_rows.h"

#include "core/base/text.h"
#include "ui/models/column_heading.h"

#include <algorithm>
#include <array>

namespace shardlens::ui {
namespace {

struct ColumnSpec {
    const char* title;
    Qt::Alignment alignment;
};
const std::array<ColumnSpec, TensorRows::ColumnCount> kColumns{{
    {QT_TRANSLATE_NOOP("TensorRows", "Name"), Qt::AlignLeft},
    {QT_TRANSLATE_NOOP("TensorRows", "Stored as"), Qt::AlignLeft},
    {QT_TRANSLATE_NOOP("TensorRows", "Shape"), Qt::AlignLeft},
    {QT_TRANSLATE_NOOP("TensorRows", "On disk"), Qt::AlignRight},
    {QT_TRANSLATE_NOOP("TensorRows", "Pieces"), Qt::AlignRight},
    {QT_TRANSLATE_NOOP("TensorRows", "Which rank holds which part"), Qt::AlignLeft},
}};

QString stripText(const TensorIndex::Node& node)
{
    std::uint64_t total = 0;
    for (const auto& [rank, bytes] : node.ranks)
        total += bytes;
    QStringList parts;
    for (const auto& [rank, bytes] : node.ranks) {
        if (parts.size() == 8) {
            parts << QStringLiteral("…");
            break;
        }
        parts << TensorRows::tr("rank %1: %2").arg(rank).arg(QString::fromStdString(percentText(total == 0 ? 0 : static_cast<double>(bytes) / static_cast<double>(total))));
    }
    return parts.join(QStringLiteral(", "));
}

QString quoted(QString text)
{
    return QLatin1Char('"') + text.replace(QLatin1Char('"'), QStringLiteral("\"\"")) + QLatin1Char('"');
}

} // namespace

const TensorIndex::View& TensorRows::view() const
{
    return m_mode == RowQuery::Mode::ByState ? m_index->byState() : m_index->byName();
}

void TensorRows::setRows(std::shared_ptr<const TensorIndex> index, RowQuery::Mode mode, std::vector<std::uint32_t> rows)
{
    beginResetModel();
    const bool sameNodes = index == m_index && (mode == RowQuery::Mode::ByState) == (m_mode == RowQuery::Mode::ByState);
    m_index = std::move(index);
    m_mode = mode;
    m_all = std::move(rows);
    if (!sameNodes)
        m_closed.assign(view().nodes.size(), false);
    showVisible();
    endResetModel();
}

void TensorRows::showVisible()
{
    m_visible.clear();
    if (m_mode == RowQuery::Mode::Flat) {
        m_visible = m_all;
        return;
    }
    std::uint32_t skipFrom = 0; // nodes in [skipFrom, skipTo) lie in a closed group
    std::uint32_t skipTo = 0;
    for (const std::uint32_t node : m_all) {
        if (node >= skipFrom && node < skipTo)
            continue;
        m_visible.push_back(node);
        if (m_closed[node]) {
            skipFrom = node + 1;
            skipTo = view().nodes[node].subtreeEnd;
        }
    }
}

const TensorIndex::Node& TensorRows::node(int row) const
{
    return view().nodes[m_visible[static_cast<std::size_t>(row)]];
}

const std::vector<TensorId>& TensorRows::members(int row) const
{
    return view().members[m_visible[static_cast<std::size_t>(row)]];
}

bool TensorRows::isExpanded(int row) const
{
    return !m_closed[m_visible[static_cast<std::size_t>(row)]];
}

void TensorRows::setExpanded(int row, bool on)
{
    const std::uint32_t node = m_visible[static_cast<std::size_t>(row)];
    if (m_closed[node] == !on)
        return;
    beginResetModel();
    m_closed[node] = !on;
    showVisible();
    endResetModel();
}

void TensorRows::expandBelow(int row)
{
    const std::uint32_t first = m_visible[static_cast<std::size_t>(row)];
    beginResetModel();
    for (std::uint32_t node = first; node < view().nodes[first].subtreeEnd; ++node)
        m_closed[node] = false;
    showVisible();
    endResetModel();
}

void TensorRows::collapseTo(int depth)
{
    beginResetModel();
    for (std::size_t node = 0; node < m_closed.size(); ++node)
        m_closed[node] = view().members[node].empty() && view().nodes[node].depth >= depth;
    showVisible();
    endResetModel();
}

int TensorRows::reveal(ParameterId parameter)
{
    if (!m_index)
        return -1;
    const auto isOf = [&](std::uint32_t node) {
        const auto& members = view().members[node];
        return !members.empty() && m_index->checkpoint()->tensor(members.front()).parameter == parameter;
    };
    const auto at = std::find_if(m_all.begin(), m_all.end(), isOf);
    if (at == m_all.end())
        return -1;
    bool hidden = false;
    for (std::int32_t up = view().nodes[*at].parent; up >= 0; up = view().nodes[static_cast<std::size_t>(up)].parent)
        hidden = hidden || m_closed[static_cast<std::size_t>(up)];
    if (hidden && m_mode != RowQuery::Mode::Flat) {
        beginResetModel();
        for (std::int32_t up = view().nodes[*at].parent; up >= 0; up = view().nodes[static_cast<std::size_t>(up)].parent)
            m_closed[static_cast<std::size_t>(up)] = false;
        showVisible();
        endResetModel();
    }
    const auto row = std::find(m_visible.begin(), m_visible.end(), *at);
    return row == m_visible.end() ? -1 : static_cast<int>(row - m_visible.begin());
}

int TensorRows::parentRow(int row) const
{
    const std::int32_t parent = node(row).parent;
    for (int i = row - 1; i >= 0 && parent >= 0; --i)
        if (m_visible[static_cast<std::size_t>(i)] == static_cast<std::uint32_t>(parent))
            return i;
    return -1;
}

int TensorRows::rowCount(const QModelIndex& parent) const
{
    return parent.isValid() ? 0 : static_cast<int>(m_visible.size());
}

int TensorRows::columnCount(const QModelIndex& parent) const
{
    return parent.isValid() ? 0 : static_cast<int>(ColumnCount);
}

QVariant TensorRows::data(const QModelIndex& index, int role) const
{
    if (!checkIndex(index, CheckIndexOption::IndexIsValid))
        return {};
    const TensorIndex::Node& one = node(index.row());
    const bool isGroup = members(index.row()).empty();
    switch (role) {
    case Qt::TextAlignmentRole: return QVariant::fromValue(kColumns[static_cast<std::size_t>(index.column())].alignment | Qt::AlignVCenter);
    case DepthRole: return m_mode == RowQuery::Mode::Flat ? 0 : static_cast<int>(one.depth);
    case IsGroupRole: return isGroup;
    case IsExpandedRole: return isGroup && isExpanded(index.row());
    case NodeRole: return m_visible[static_cast<std::size_t>(index.row())];
    case Qt::ToolTipRole:
        if (index.column() == Strip)
            return stripText(one);
        return one.tensor == kNoTensor ? QVariant() : QString::fromStdString(printable(m_index->checkpoint()->parameterOf(one.tensor)));
    case Qt::DisplayRole: break;
    default: return {};
    }
    switch (index.column()) {
    case Name:
        if (m_mode == RowQuery::Mode::Flat)
            return QString::fromStdString(printable(m_index->checkpoint()->parameterOf(one.tensor)));
        return QString::fromStdString(one.label);
    case StoredAs: return QString::fromStdString(one.storedAs);
    case ShapeColumn: return isGroup ? QString() : QString::fromStdString(shapeText(m_index->checkpoint()->tensor(one.tensor).shape));
    case OnDisk: return QString::fromStdString(sizeText(one.bytes));
    case Pieces: return QString::fromStdString(groupedText(one.pieces));
    default: return stripText(one);
    }
}

QVariant TensorRows::headerData(int section, Qt::Orientation orientation, int role) const
{
    return columnHeading(kColumns, section, orientation, role);
}

QString TensorRows::csv() const
{
    QString out = QStringLiteral("name,stored_as,shape,bytes,pieces\n");
    if (!m_index)
        return out;
    const Checkpoint& checkpoint = *m_index->checkpoint();
    for (const std::uint32_t row : m_all) {
        if (view().members[row].empty())
            continue;
        const TensorIndex::Node& one = view().nodes[row];
        out += QStringLiteral("%1,%2,%3,%4,%5\n")
                   .arg(quoted(QString::fromStdString(checkpoint.parameterOf(one.tensor))), quoted(QString::fromStdString(one.storedAs)),
                        quoted(QString::fromStdString(shapeText(checkpoint.tensor(one.tensor).shape))))
                   .arg(one.bytes)
                   .arg(one.pieces);
    }
    return out;
}

} // namespace shardlens::ui
