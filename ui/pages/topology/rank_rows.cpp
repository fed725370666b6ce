#include "ui/pages/topology/rank_rows.h"

#include "ui/models/atlas_text.h"
#include "ui/theme/theme.h"
#include "ui/widgets/rank_grid_view.h"

#include <algorithm>

namespace shardlens::ui {
namespace {

constexpr std::size_t kFilesInCell = 2;

} // namespace

QString timesText(double factor)
{
    return QStringLiteral("%1 ×").arg(QString::number(factor, 'f', factor < 10 ? 2 : 0));
}

QString statesText(const Checkpoint& checkpoint, const RankUse& use)
{
    QStringList parts;
    for (std::size_t role = 0; role < use.bytes.size(); ++role)
        if (use.bytes[role] > 0)
            parts << QStringLiteral("%1 %2").arg(printableText(checkpoint.roles()[role].name), bytesText(use.bytes[role]));
    return parts.isEmpty() ? RankRows::tr("nothing") : parts.join(QStringLiteral(", "));
}

QString filesText(const Checkpoint& checkpoint, const RankUse& use, std::size_t most)
{
    QStringList names;
    for (std::size_t i = 0; i < std::min(most, use.files.size()); ++i) {
        const File& file = checkpoint.file(use.files[i]);
        const QString name = printableText(file.name);
        names << (file.state == File::State::Read ? name : RankRows::tr("%1 (not there)").arg(name));
    }
    if (names.isEmpty())
        return RankRows::tr("none");
    const QString all = names.join(QStringLiteral(", "));
    return use.files.size() <= most ? all : RankRows::tr("%1 and %2 more").arg(all, numberText(use.files.size() - most));
}

void RankRows::show(CheckpointPtr checkpoint, RankUsesPtr uses)
{
    beginResetModel();
    m_checkpoint = std::move(checkpoint);
    m_uses = std::move(uses);
    endResetModel();
}

int RankRows::rowCount(const QModelIndex& parent) const
{
    return parent.isValid() || !m_uses ? 0 : static_cast<int>(m_uses->ranks.size());
}

int RankRows::columnCount(const QModelIndex& parent) const
{
    return parent.isValid() ? 0 : ColumnCount;
}

QString RankRows::cellText(std::uint32_t rank, int column) const
{
    const RankUse& use = m_uses->ranks[rank];
    switch (column) {
    case Rank: return numberText(rank);
    case Place: return m_uses->placeOf(rank);
    case Bytes: return bytesText(use.total);
    case OfMean: return timesText(m_uses->shareOf(rank));
    case State: return stateName(use.state);
    case Files: return filesText(*m_checkpoint, use, kFilesInCell);
    default: return {};
    }
}

QVariant RankRows::data(const QModelIndex& index, int role) const
{
    if (!index.isValid() || index.row() >= rowCount())
        return {};
    const auto rank = static_cast<std::uint32_t>(index.row());
    const RankUse& use = m_uses->ranks[rank];
    const bool isNumber = index.column() == Bytes || index.column() == OfMean || index.column() == Rank;
    switch (role) {
    case Qt::DisplayRole: return cellText(rank, index.column());
    case Qt::ToolTipRole:
        return index.column() == Bytes ? QStringLiteral("%1 B: %2").arg(numberText(use.total), statesText(*m_checkpoint, use))
                                       : filesText(*m_checkpoint, use, use.files.size());
    case Qt::TextAlignmentRole: return QVariant::fromValue(Qt::AlignVCenter | (isNumber ? Qt::AlignRight : Qt::AlignLeft));
    case Qt::ForegroundRole:
        if (index.column() == State && use.state != RankUse::State::Complete)
            return Theme::current().colour(use.state == RankUse::State::Missing ? Token::Error : Token::Warn);
        return Theme::current().colour(index.column() == Files || index.column() == Place ? Token::Text2 : Token::Text);
    default: return {};
    }
}

QVariant RankRows::headerData(int section, Qt::Orientation orientation, int role) const
{
    if (orientation != Qt::Horizontal)
        return {};
    if (role == Qt::TextAlignmentRole)
        return QVariant::fromValue(Qt::AlignVCenter | (section == Rank || section == Bytes || section == OfMean ? Qt::AlignRight : Qt::AlignLeft));
    if (role != Qt::DisplayRole)
        return {};
    switch (section) {
    case Rank: return tr("rank");
    case Place: return tr("place");
    case Bytes: return tr("holds");
    case OfMean: return tr("of the mean");
    case State: return tr("state");
    case Files: return tr("files");
    default: return {};
    }
}

} // namespace shardlens::ui
