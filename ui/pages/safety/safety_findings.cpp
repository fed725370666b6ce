#include "ui/pages/safety/safety_findings.h"

#include "ui/models/atlas_text.h"
#include "ui/models/safety_check.h"

#include <algorithm>

namespace shardlens::ui {
namespace {

constexpr int kNotable = 3; // from here on a finding is more than a note

// "data.pkl" of "archive/data.pkl": every record of an archive begins alike.
std::string_view withoutRoot(std::string_view member)
{
    const std::size_t slash = member.find('/');
    return slash == std::string_view::npos || slash + 1 == member.size() ? member : member.substr(slash + 1);
}

} // namespace

QString levelWord(int level)
{
    switch (level) {
    case 0: return SafetyFindings::tr("note");
    case 1: case 2: return SafetyFindings::tr("known");
    case 3: return SafetyFindings::tr("unknown");
    case 4: return SafetyFindings::tr("suspicious");
    default: return SafetyFindings::tr("dangerous");
    }
}

void SafetyFindings::show(std::shared_ptr<const ScanReport> report, std::optional<std::size_t> file, const QString& filter, bool all)
{
    beginResetModel();
    m_report = std::move(report);
    m_rows.clear();
    const bool hasNotable = m_report && file && isNotable(m_report->files[*file].level);
    for (std::size_t i = 0; m_report && file && i < m_report->findings.size(); ++i) {
        const ScanFinding& finding = m_report->findings[i];
        if (finding.file != *file)
            continue;
        if (hasNotable && !all && !isNotable(finding.finding.level))
            continue;
        if (filter.isEmpty() || textAt(finding, What).contains(filter, Qt::CaseInsensitive) || textAt(finding, Member).contains(filter, Qt::CaseInsensitive))
            m_rows.push_back(i);
    }
    endResetModel();
}

bool SafetyFindings::isNotable(int level)
{
    return level >= kNotable;
}

// One member for all is said above the opcodes.
bool SafetyFindings::hasMembers() const
{
    const auto memberOf = [this](std::size_t i) -> const std::string& { return m_report->findings[i].member; };
    return std::any_of(m_rows.begin(), m_rows.end(), [&](std::size_t i) { return memberOf(i) != memberOf(m_rows.front()); });
}

int SafetyFindings::rowCount(const QModelIndex& parent) const
{
    return parent.isValid() ? 0 : static_cast<int>(m_rows.size());
}

int SafetyFindings::columnCount(const QModelIndex& parent) const
{
    return parent.isValid() ? 0 : ColumnCount;
}

QString SafetyFindings::textAt(const ScanFinding& finding, int column) const
{
    switch (column) {
    case Level: return levelWord(finding.finding.level);
    case What: return printableText(finding.finding.what);
    case Member: return printableText(withoutRoot(finding.member));
    case Offset: return numberText(finding.finding.offset);
    case Code: return QString::fromLatin1(finding.finding.code);
    default: return {};
    }
}

QVariant SafetyFindings::data(const QModelIndex& index, int role) const
{
    if (!checkIndex(index, CheckIndexOption::IndexIsValid))
        return {};
    const ScanFinding& finding = findingAt(index.row());
    const Theme& theme = Theme::current();
    switch (role) {
    case Qt::DisplayRole: return textAt(finding, index.column());
    case Qt::ToolTipRole: return index.column() == Member ? printableText(finding.member) : textAt(finding, What);
    case Qt::FontRole: return theme.font(index.column() == Member ? TextStyle::Mono : TextStyle::Body);
    case Qt::ForegroundRole:
        return theme.colour(index.column() == Level ? SafetyWords::tone(finding.finding.level) : index.column() == What ? Token::Text : Token::Text2);
    case Qt::TextAlignmentRole: return QVariant::fromValue(Qt::AlignVCenter | (index.column() == Offset ? Qt::AlignRight : Qt::AlignLeft));
    default: return {};
    }
}

QVariant SafetyFindings::headerData(int section, Qt::Orientation orientation, int role) const
{
    if (orientation != Qt::Horizontal)
        return {};
    if (role == Qt::TextAlignmentRole)
        return QVariant::fromValue(Qt::AlignVCenter | (section == Offset ? Qt::AlignRight : Qt::AlignLeft));
    if (role != Qt::DisplayRole)
        return {};
    switch (section) {
    case Level: return tr("level");
    case What: return tr("what loading would do");
    case Member: return tr("member");
    case Offset: return tr("offset");
    case Code: return tr("code");
    default: return {};
    }
}

} // namespace shardlens::ui
