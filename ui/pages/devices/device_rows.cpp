#include "ui/pages/devices/device_rows.h"

#include "ui/models/atlas_text.h"
#include "ui/theme/theme.h"

namespace shardlens::ui {

void DeviceRows::show(DeviceMapPtr map)
{
    beginResetModel();
    m_map = std::move(map);
    endResetModel();
}

int DeviceRows::rowCount(const QModelIndex& parent) const
{
    return parent.isValid() || !m_map ? 0 : static_cast<int>(m_map->devices.size());
}

int DeviceRows::columnCount(const QModelIndex& parent) const
{
    return parent.isValid() ? 0 : ColumnCount;
}

QString DeviceRows::sameAs(std::uint32_t rank) const
{
    if (!m_map->devices[rank].slice)
        return {};
    std::vector<std::uint32_t> others = m_map->slices[*m_map->devices[rank].slice].ranks;
    std::erase(others, rank);
    return ranksText(others);
}

QString DeviceRows::cellText(std::uint32_t rank, int column) const
{
    const DeviceMap::Device& device = m_map->devices[rank];
    switch (column) {
    case Rank: return numberText(rank);
    case Place: return m_map->grid.coordinates(rank);
    case Slice: return device.slice ? QString::fromStdString(regionText(BoxView(m_map->slices[*device.slice].box))) : tr("none of it");
    case SameAs: return sameAs(rank);
    case Bytes: return m_map->valueBytes > 0 ? bytesText(m_map->bytesOf(rank)) : QString();
    case File: return m_map->placeOf(rank);
    default: return {};
    }
}

QVariant DeviceRows::data(const QModelIndex& index, int role) const
{
    if (!index.isValid() || index.row() >= rowCount())
        return {};
    const auto rank = static_cast<std::uint32_t>(index.row());
    const DeviceMap::Device& device = m_map->devices[rank];
    const bool isNumber = index.column() == Rank || index.column() == Bytes;
    const bool isHole = device.isMissing || (device.slice && !m_map->slices[*device.slice].isHeld);
    switch (role) {
    case Qt::DisplayRole: return cellText(rank, index.column());
    case Qt::ToolTipRole: return m_map->sentenceOf(rank).toHtmlEscaped();
    case Qt::TextAlignmentRole: return QVariant::fromValue(Qt::AlignVCenter | (isNumber ? Qt::AlignRight : Qt::AlignLeft));
    case Qt::ForegroundRole:
        if (index.column() == File && isHole)
            return Theme::current().colour(Token::Error);
        return Theme::current().colour(index.column() == File || index.column() == Place || index.column() == SameAs ? Token::Text2 : Token::Text);
    default: return {};
    }
}

QVariant DeviceRows::headerData(int section, Qt::Orientation orientation, int role) const
{
    if (orientation != Qt::Horizontal)
        return {};
    if (role == Qt::TextAlignmentRole)
        return QVariant::fromValue(Qt::AlignVCenter | (section == Rank || section == Bytes ? Qt::AlignRight : Qt::AlignLeft));
    if (role != Qt::DisplayRole)
        return {};
    switch (section) {
    case Rank: return tr("rank");
    case Place: return tr("place");
    case Slice: return tr("slice");
    case SameAs: return tr("same as ranks");
    case Bytes: return tr("bytes");
    case File: return tr("where it lies");
    default: return {};
    }
}

} // namespace shardlens::ui
