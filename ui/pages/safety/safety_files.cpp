#include "ui/pages/safety/safety_files.h"

#include "ui/models/atlas_text.h"
#include "ui/models/safety_check.h"

#include <algorithm>
#include <numeric>

namespace shardlens::ui {
namespace {

QString verdictWord(const ScannedFile& file)
{
    if (file.streams == 0 && file.level == 0)
        return SafetyFiles::tr("no pickle");
    return file.scanned ? SafetyWords::word(file.level) : SafetyFiles::tr("%1, not read in full").arg(SafetyWords::word(file.level));
}

} // namespace

void SafetyFiles::show(std::shared_ptr<const ScanReport> report)
{
    beginResetModel();
    m_report = std::move(report);
    m_rows.resize(m_report ? m_report->files.size() : 0);
    std::iota(m_rows.begin(), m_rows.end(), std::size_t{0});
    std::stable_sort(m_rows.begin(), m_rows.end(), [this](std::size_t a, std::size_t b) {
        const ScannedFile& first = m_report->files[a];
        const ScannedFile& second = m_report->files[b];
        return std::pair(first.level, first.streams > 0) > std::pair(second.level, second.streams > 0);
    });
    endResetModel();
}

int SafetyFiles::rowCount(const QModelIndex& parent) const
{
    return parent.isValid() ? 0 : static_cast<int>(m_rows.size());
}

int SafetyFiles::columnCount(const QModelIndex& parent) const
{
    return parent.isValid() ? 0 : ColumnCount;
}

QVariant SafetyFiles::data(const QModelIndex& index, int role) const
{
    if (!checkIndex(index, CheckIndexOption::IndexIsValid))
        return {};
    const ScannedFile& file = m_report->files[fileAt(index.row())];
    const Theme& theme = Theme::current();
    const bool isQuiet = file.streams == 0 && file.level == 0;
    switch (role) {
    case Qt::DisplayRole: return index.column() == File ? printableText(file.name) : verdictWord(file);
    case Qt::ToolTipRole:
        return QStringLiteral("%1\n%2, %3\n%4").arg(printableText(file.name), printableText(file.kind), bytesText(file.sizeBytes), verdictWord(file));
    case Qt::FontRole: return theme.font(index.column() == File ? TextStyle::Mono : TextStyle::Body);
    case Qt::ForegroundRole: return theme.colour(isQuiet ? Token::Text3 : index.column() == File ? Token::Text : SafetyWords::tone(file.level));
    case Qt::DecorationRole:
        return index.column() == Verdict ? QVariant(isQuiet ? theme.icon(QStringLiteral("file"), Token::Text3)
                                                            : theme.icon(SafetyWords::icon(file.level), SafetyWords::tone(file.level)))
                                         : QVariant();
    default: return {};
    }
}

QVariant SafetyFiles::headerData(int section, Qt::Orientation orientation, int role) const
{
    if (orientation != Qt::Horizontal)
        return {};
    if (role == Qt::TextAlignmentRole)
        return QVariant::fromValue(Qt::AlignVCenter | Qt::AlignLeft);
    if (role != Qt::DisplayRole)
        return {};
    return section == File ? tr("file") : tr("verdict");
}

} // namespace shardlens::ui
