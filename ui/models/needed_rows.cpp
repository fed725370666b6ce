#include "ui/models/needed_rows.h"

#include "core/layout/strategy_ranks.h"
#include "ui/models/atlas_text.h"
#include "ui/models/device_map.h"

#include <algorithm>

namespace shardlens::ui {

NeededList neededRanks(const std::shared_ptr<const mindspore::Strategy>& source, const std::shared_ptr<const mindspore::Strategy>& target, const std::stop_token& stop)
{
    NeededList out;
    const auto needed = mindspore::NeededRanks::make(source.get(), target.get());
    if (!needed) {
        out.refusal = printableText(needed.error().sentence());
        return out;
    }
    for (std::uint64_t rank = 0; rank < std::min(needed->targetRanks(), NeededList::kMost) && !stop.stop_requested(); ++rank) {
        const auto ranks = needed->of(rank);
        if (!ranks) {
            out.refusal = printableText(ranks.error().sentence());
            out.lines.clear();
            return out;
        }
        std::vector<std::uint32_t> ascending(ranks->rbegin(), ranks->rend());
        out.lines.push_back({ranksText(ascending), ascending.size()});
    }
    return out;
}

void NeededRows::show(NeededList list)
{
    beginResetModel();
    m_list = std::move(list);
    endResetModel();
}

int NeededRows::rowCount(const QModelIndex& parent) const
{
    return parent.isValid() ? 0 : static_cast<int>(m_list.lines.size());
}

int NeededRows::columnCount(const QModelIndex& parent) const
{
    return parent.isValid() ? 0 : ColumnCount;
}

QVariant NeededRows::data(const QModelIndex& index, int role) const
{
    if (!index.isValid() || index.row() >= rowCount())
        return {};
    const NeededList::Line& line = m_list.lines[static_cast<std::size_t>(index.row())];
    const bool isNumber = index.column() != Source;
    if (role == Qt::TextAlignmentRole)
        return QVariant::fromValue(Qt::AlignVCenter | (isNumber ? Qt::AlignRight : Qt::AlignLeft));
    if (role != Qt::DisplayRole)
        return {};
    switch (index.column()) {
    case Target: return numberText(static_cast<std::uint64_t>(index.row()));
    case Source: return line.ranks;
    case Count: return numberText(line.count);
    default: return {};
    }
}

QVariant NeededRows::headerData(int section, Qt::Orientation orientation, int role) const
{
    if (orientation != Qt::Horizontal)
        return {};
    if (role == Qt::TextAlignmentRole)
        return QVariant::fromValue(Qt::AlignVCenter | (section != Source ? Qt::AlignRight : Qt::AlignLeft));
    if (role != Qt::DisplayRole)
        return {};
    return section == Target ? tr("target rank") : section == Source ? tr("source ranks") : tr("how many");
}

} // namespace shardlens::ui
