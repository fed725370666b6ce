#include "ui/models/compare_model.h"

#include "core/base/text.h"
#include "ui/models/atlas_text.h"
#include "ui/theme/theme.h"

#include <algorithm>
#include <limits>

namespace shardlens::ui {
namespace {

const std::array<const char*, CompareModel::ColumnCount> kTitles{{
    QT_TRANSLATE_NOOP("CompareModel", "Name"), QT_TRANSLATE_NOOP("CompareModel", "What"), QT_TRANSLATE_NOOP("CompareModel", "In A"),
    QT_TRANSLATE_NOOP("CompareModel", "In B"), QT_TRANSLATE_NOOP("CompareModel", "Differing"), QT_TRANSLATE_NOOP("CompareModel", "Max error"),
    QT_TRANSLATE_NOOP("CompareModel", "Max relative"), QT_TRANSLATE_NOOP("CompareModel", "Cosine"), QT_TRANSLATE_NOOP("CompareModel", "First at"),
}};

const std::array<const char*, CompareModel::ColumnCount> kTips{{
    "", "", "", "", QT_TRANSLATE_NOOP("CompareModel", "Values beyond the tolerance"), QT_TRANSLATE_NOOP("CompareModel", "The largest |a − b|"),
    QT_TRANSLATE_NOOP("CompareModel", "The largest |a − b| divided by the larger magnitude: at most 2"),
    QT_TRANSLATE_NOOP("CompareModel", "1: the same direction; 0: nothing in common"), QT_TRANSLATE_NOOP("CompareModel", "Index of the first value that differs"),
}};

QString sideText(const Checkpoint& checkpoint, const std::optional<TensorId>& tensor)
{
    if (!tensor)
        return {};
    const Tensor& one = checkpoint.tensor(*tensor);
    return QStringLiteral("%1 %2").arg(printableText(nameOf(one.dtype)), QString::fromStdString(shapeText(one.shape)));
}

CompareRow rowOf(const CompareResult& result, const TensorDiff& diff)
{
    CompareRow row;
    row.group = static_cast<std::size_t>(diff.state);
    row.name = printableText(diff.name);
    if (diff.state != DiffState::OnlyInA && diff.nameInB != diff.name)
        row.name += QStringLiteral(" → ") + printableText(diff.nameInB);
    row.a = sideText(*result.a, diff.a);
    row.b = sideText(*result.b, diff.b);
    row.tensor = diff.a;
    row.tip = diff.problem.empty() ? row.name : printableText(diff.problem);
    if (!diff.values)
        return row;
    row.compared = diff.values->values;
    row.differing = diff.values->differing;
    row.maxAbsolute = diff.values->maxAbsolute;
    row.maxRelative = diff.values->maxRelative;
    row.cosine = diff.values->cosine();
    if (diff.values->first)
        row.first = QString::fromStdString(shapeText(indexAt(*diff.values->first, result.a->tensor(*diff.a).shape)));
    if (diff.values->nonFinite > 0)
        row.tip += QLatin1Char('\n') + CompareModel::tr("NaN or Inf on one side: %1").arg(numberText(diff.values->nonFinite));
    return row;
}

QString numberOf(double number)
{
    QString text = QString::number(number, 'g', 4);
    text.replace(QLatin1Char('-'), QStringLiteral("−"));
    return text;
}

// What a column sorts by; text columns sort by text.
double sortKey(const CompareRow& row, int column)
{
    switch (column) {
    case CompareModel::What: return static_cast<double>(row.group);
    case CompareModel::Differing: return static_cast<double>(row.differing);
    case CompareModel::MaxAbsolute: return row.maxAbsolute;
    case CompareModel::MaxRelative: return row.maxRelative;
    case CompareModel::Cosine: return row.cosine.value_or(std::numeric_limits<double>::max());
    default: return 0;
    }
}

QString textAt(const CompareRow& row, int column)
{
    const bool hasValues = row.compared > 0;
    switch (column) {
    case CompareModel::Name: return row.name;
    case CompareModel::What: return compareGroupText(row.group);
    case CompareModel::InA: return row.a.isEmpty() ? QStringLiteral("–") : row.a;
    case CompareModel::InB: return row.b.isEmpty() ? QStringLiteral("–") : row.b;
    case CompareModel::Differing:
        return hasValues && row.differing > 0 ? QStringLiteral("%1 (%2)").arg(numberText(row.differing),
                                                                             QString::fromStdString(percentText(static_cast<double>(row.differing) / static_cast<double>(row.compared))))
                                              : QString();
    case CompareModel::MaxAbsolute: return hasValues ? numberOf(row.maxAbsolute) : QString();
    case CompareModel::MaxRelative: return hasValues ? numberOf(row.maxRelative) : QString();
    case CompareModel::Cosine: return row.cosine ? QString::number(*row.cosine, 'f', 6) : QString();
    case CompareModel::First: return row.first;
    default: return {};
    }
}

bool isNumeric(int column)
{
    return column >= CompareModel::Differing && column <= CompareModel::Cosine;
}

} // namespace

std::shared_ptr<const CompareResult> CompareResult::of(CheckpointPtr a, CheckpointPtr b, const DiffReport& report)
{
    auto out = std::make_shared<CompareResult>();
    out->a = std::move(a);
    out->b = std::move(b);
    out->suggestion = report.suggestion;
    out->sharesNames = report.tensors.empty() || report.sharesNames();
    out->bytesRead = report.bytesRead;
    std::copy(report.counts.begin(), report.counts.end(), out->counts.begin());
    out->counts[kArgumentGroup] = report.arguments.size();
    for (const TensorDiff& diff : report.tensors)
        if (diff.state != DiffState::Equal)
            out->rows.push_back(rowOf(*out, diff));
    for (const ArgumentDiff& diff : report.arguments) {
        CompareRow& row = out->rows.emplace_back();
        row.group = kArgumentGroup;
        row.name = printableText(diff.place);
        row.a = diff.a ? printableText(*diff.a) : QString();
        row.b = diff.b ? printableText(*diff.b) : QString();
        row.tip = row.name;
    }
    for (const TensorDiff& diff : report.tensors)
        if (diff.state == DiffState::Equal)
            out->rows.push_back(rowOf(*out, diff));
    return out;
}

bool CompareResult::isEqual() const
{
    for (std::size_t i = 0; i < kDiffStates; ++i)
        if (counts[i] > 0 && static_cast<DiffState>(i) != DiffState::Equal)
            return false;
    return true;
}

QString compareGroupText(std::size_t group)
{
    if (group == kArgumentGroup)
        return CompareModel::tr("argument");
    switch (static_cast<DiffState>(group)) {
    case DiffState::Equal: return CompareModel::tr("equal");
    case DiffState::Values: return CompareModel::tr("values differ");
    case DiffState::Dtype: return CompareModel::tr("another dtype");
    case DiffState::Shape: return CompareModel::tr("another shape");
    case DiffState::OnlyInA: return CompareModel::tr("only in A");
    case DiffState::OnlyInB: return CompareModel::tr("only in B");
    case DiffState::Unreadable: return CompareModel::tr("unreadable");
    }
    return {};
}

void CompareModel::setResult(std::shared_ptr<const CompareResult> result)
{
    beginResetModel();
    m_result = std::move(result);
    rebuild();
    endResetModel();
}

void CompareModel::setFilter(const QString& text, std::optional<std::size_t> group)
{
    beginResetModel();
    m_text = text;
    m_group = group;
    rebuild();
    endResetModel();
}

void CompareModel::rebuild()
{
    m_rows.clear();
    for (std::size_t i = 0; m_result && i < m_result->rows.size(); ++i) {
        const CompareRow& row = m_result->rows[i];
        const bool isWanted = m_group ? row.group == *m_group : row.group != static_cast<std::size_t>(DiffState::Equal);
        const bool isFound = m_text.isEmpty() || row.name.contains(m_text, Qt::CaseInsensitive) ||
                             (row.group == kArgumentGroup && (row.a.contains(m_text, Qt::CaseInsensitive) || row.b.contains(m_text, Qt::CaseInsensitive)));
        if (isWanted && isFound)
            m_rows.push_back(static_cast<std::uint32_t>(i));
    }
    sortRows();
}

void CompareModel::sortRows()
{
    if (m_sortColumn < 0)
        return;
    const auto isBefore = [this](std::uint32_t x, std::uint32_t y) {
        const CompareRow& a = m_result->rows[x];
        const CompareRow& b = m_result->rows[y];
        if (m_sortColumn == What || isNumeric(m_sortColumn))
            return sortKey(a, m_sortColumn) < sortKey(b, m_sortColumn);
        return naturalLess(textAt(a, m_sortColumn).toStdString(), textAt(b, m_sortColumn).toStdString());
    };
    if (m_sortOrder == Qt::AscendingOrder)
        std::stable_sort(m_rows.begin(), m_rows.end(), isBefore);
    else
        std::stable_sort(m_rows.begin(), m_rows.end(), [&](std::uint32_t x, std::uint32_t y) { return isBefore(y, x); });
}

void CompareModel::sort(int column, Qt::SortOrder order)
{
    beginResetModel();
    m_sortColumn = column;
    m_sortOrder = order;
    rebuild();
    endResetModel();
}

const CompareRow* CompareModel::rowAt(int row) const
{
    return row >= 0 && static_cast<std::size_t>(row) < m_rows.size() ? &m_result->rows[m_rows[static_cast<std::size_t>(row)]] : nullptr;
}

int CompareModel::rowCount(const QModelIndex& parent) const
{
    return parent.isValid() ? 0 : static_cast<int>(m_rows.size());
}

int CompareModel::columnCount(const QModelIndex& parent) const
{
    return parent.isValid() ? 0 : static_cast<int>(ColumnCount);
}

QVariant CompareModel::data(const QModelIndex& index, int role) const
{
    if (!checkIndex(index, CheckIndexOption::IndexIsValid))
        return {};
    const CompareRow& row = *rowAt(index.row());
    switch (role) {
    case Qt::DisplayRole: return textAt(row, index.column());
    case Qt::ToolTipRole: return index.column() == Name ? row.tip : textAt(row, index.column());
    case Qt::TextAlignmentRole: return static_cast<int>((isNumeric(index.column()) ? Qt::AlignRight : Qt::AlignLeft) | Qt::AlignVCenter);
    case Qt::ForegroundRole:
        if (index.column() != What)
            return {};
        return Theme::current().colour(row.group == static_cast<std::size_t>(DiffState::Equal)        ? Token::Ok
                                       : row.group == static_cast<std::size_t>(DiffState::Unreadable) ? Token::Error
                                       : row.group == kArgumentGroup                                  ? Token::Text2
                                                                                                      : Token::Warn);
    default: return {};
    }
}

QVariant CompareModel::headerData(int section, Qt::Orientation orientation, int role) const
{
    if (orientation != Qt::Horizontal || section < 0 || section >= ColumnCount)
        return {};
    if (role == Qt::DisplayRole)
        return tr(kTitles[static_cast<std::size_t>(section)]);
    if (role == Qt::ToolTipRole && *kTips[static_cast<std::size_t>(section)] != '\0')
        return tr(kTips[static_cast<std::size_t>(section)]);
    if (role == Qt::TextAlignmentRole)
        return static_cast<int>((isNumeric(section) ? Qt::AlignRight : Qt::AlignLeft) | Qt::AlignVCenter);
    return {};
}

} // namespace shardlens::ui
