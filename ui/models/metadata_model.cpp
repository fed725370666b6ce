#include "ui/models/metadata_model.h"

#include "ui/theme/theme.h"


#include <QSize>

#include <array>

namespace shardlens::ui {
namespace {

const std::array<const char*, MetadataModel::ColumnCount> kTitles{{
    QT_TRANSLATE_NOOP("MetadataModel", "Key"),
    QT_TRANSLATE_NOOP("MetadataModel", "Value"),
    QT_TRANSLATE_NOOP("MetadataModel", "Type"),
    QT_TRANSLATE_NOOP("MetadataModel", "File"),
}};

} // namespace

void MetadataModel::setTree(MetadataTreePtr tree)
{
    beginResetModel();
    m_tree = std::move(tree);
    rebuild();
    endResetModel();
}

void MetadataModel::setFilter(const QString& text, bool onlyDiffering)
{
    beginResetModel();
    m_filter = text;
    m_onlyDiffering = onlyDiffering;
    rebuild();
    endResetModel();
}

bool MetadataModel::matchesFilter(std::uint32_t index) const
{
    const MetadataNode& node = m_tree->nodes[index];
    if (m_onlyDiffering && !node.differs)
        return false;
    if (m_filter.isEmpty())
        return true;
    for (const QString* text : {&node.key, &node.value, &node.type})
        if (text->contains(m_filter, Qt::CaseInsensitive))
            return true;
    return m_filter.contains(QLatin1Char('.')) && m_tree->pathOf(index).contains(m_filter, Qt::CaseInsensitive);
}

void MetadataModel::rebuild()
{
    const std::size_t count = m_tree ? m_tree->nodes.size() : 0;
    m_children.assign(count + 1, {});
    m_row.assign(count, 0);
    std::vector<bool> visible(count, !isFiltered());
    m_matches = isFiltered() ? 0 : count;
    for (std::uint32_t i = 0; isFiltered() && i < count; ++i) {
        if (!matchesFilter(i))
            continue;
        ++m_matches;
        for (std::uint32_t below = i; below < m_tree->nodes[i].end; ++below)
            visible[below] = true;
        for (std::uint32_t above = m_tree->nodes[i].parent; above != MetadataNode::kNone && !visible[above]; above = m_tree->nodes[above].parent)
            visible[above] = true;
    }
    for (std::uint32_t i = 0; i < count; ++i) {
        if (!visible[i])
            continue;
        const std::uint32_t parent = m_tree->nodes[i].parent;
        auto& siblings = m_children[parent == MetadataNode::kNone ? 0 : parent + 1];
        m_row[i] = static_cast<std::uint32_t>(siblings.size());
        siblings.push_back(i);
    }
}

QModelIndex MetadataModel::index(int row, int column, const QModelIndex& parent) const
{
    if (!m_tree || row < 0 || column < 0 || column >= ColumnCount || (parent.isValid() && parent.column() != 0))
        return {};
    const auto& children = childrenOf(parent.isValid() ? nodeOf(parent) : MetadataNode::kNone);
    if (static_cast<std::size_t>(row) >= children.size())
        return {};
    return createIndex(row, column, static_cast<quintptr>(children[static_cast<std::size_t>(row)]));
}

QModelIndex MetadataModel::parent(const QModelIndex& child) const
{
    if (!child.isValid())
        return {};
    const std::uint32_t above = m_tree->nodes[nodeOf(child)].parent;
    return above == MetadataNode::kNone ? QModelIndex() : createIndex(static_cast<int>(m_row[above]), 0, static_cast<quintptr>(above));
}

int MetadataModel::rowCount(const QModelIndex& parent) const
{
    if (!m_tree || (parent.isValid() && parent.column() != 0))
        return 0;
    return static_cast<int>(childrenOf(parent.isValid() ? nodeOf(parent) : MetadataNode::kNone).size());
}

int MetadataModel::columnCount(const QModelIndex&) const
{
    return static_cast<int>(ColumnCount);
}

QString MetadataModel::textAt(const MetadataNode& node, int column) const
{
    switch (column) {
    case Key: return node.key.isEmpty() && node.kind == MetaNode::Kind::Summary ? tr("tensors") : node.key;
    case Value:
        if (node.kind != MetaNode::Kind::Opaque || node.differs)
            return node.value;
        return node.value.isEmpty() || node.value == QLatin1String("not executed") ? tr("not executed") : tr("%1, not executed").arg(node.value);
    case Type: return node.type;
    case Files: return m_tree->filesText(node);
    default: return {};
    }
}

QVariant MetadataModel::data(const QModelIndex& index, int role) const
{
    if (!checkIndex(index, CheckIndexOption::IndexIsValid))
        return {};
    const MetadataNode& node = m_tree->nodes[nodeOf(index)];
    switch (role) {
    case Qt::DisplayRole: return textAt(node, index.column());
    case Qt::ToolTipRole: return index.column() == Key ? m_tree->pathOf(nodeOf(index)) : textAt(node, index.column());
    case Qt::ForegroundRole:
        if (index.column() == Value && (node.differs || node.kind == MetaNode::Kind::Opaque))
            return Theme::current().colour(Token::Warn);
        if (index.column() == Type || index.column() == Files)
            return Theme::current().colour(Token::Text3);
        return {};
    case Qt::SizeHintRole: return QSize(0, Theme::current().px(24));
    case Qt::DecorationRole:
        if (index.column() == Value && (node.differs || node.kind == MetaNode::Kind::Opaque))
            return Theme::current().icon(node.differs ? QStringLiteral("warn") : QStringLiteral("info"), Token::Warn);
        return {};
    default: return {};
    }
}

QVariant MetadataModel::headerData(int section, Qt::Orientation orientation, int role) const
{
    if (orientation != Qt::Horizontal || role != Qt::DisplayRole || section < 0 || section >= ColumnCount)
        return {};
    return tr(kTitles[static_cast<std::size_t>(section)]);
}

QString MetadataModel::copyText(const QModelIndex& index, bool withPlace) const
{
    if (!index.isValid())
        return {};
    const MetadataNode& node = m_tree->nodes[nodeOf(index)];
    if (!withPlace)
        return node.key + QLatin1Char('\t') + node.value;
    return QStringLiteral("%1\t%2\t%3\t%4").arg(m_tree->pathOf(nodeOf(index)), node.value, node.type, m_tree->filesText(node));
}

} // namespace shardlens::ui
