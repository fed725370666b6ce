#include "ui/models/stage_rows.h"

#include "core/base/text.h"
#include "ui/models/atlas_text.h"
#include "ui/models/table_text.h"

namespace shardlens::ui {
namespace {

// "+1,234", "−5", "0", with a true minus sign.
QString changeText(std::uint64_t now, std::uint64_t before)
{
    if (now == before)
        return QStringLiteral("0");
    return now > before ? QStringLiteral("+") + numberText(now - before) : QStringLiteral("−") + numberText(before - now);
}

} // namespace

void StageRows::show(const PartitionPreview& preview, const std::vector<PartitionStage>& original)
{
    const std::size_t before = m_stages.size();
    std::vector<StageFacts> stages = stageFactsOf(preview);
    const bool sameRows = stages.size() == before && m_hasWeights == preview.partition.hasWeights;
    if (!sameRows)
        beginResetModel();
    m_stages = std::move(stages);
    m_original = original;
    m_balance = balanceOf(preview.partition.stages);
    m_hasWeights = preview.partition.hasWeights;
    m_countsMatches = preview.partition.countsMatches;
    if (!sameRows)
        endResetModel();
    else if (!m_stages.empty()) // a boundary moved: the row that is selected stays
        emit dataChanged(index(0, 0), index(rowCount() - 1, ColumnCount - 1));
    emit headerDataChanged(Qt::Horizontal, 0, ColumnCount - 1);
}

void StageRows::clear()
{
    if (m_stages.empty())
        return;
    beginResetModel();
    m_stages.clear();
    endResetModel();
}

bool StageRows::has(Column column) const
{
    const StageFacts* first = m_stages.empty() ? nullptr : &m_stages.front();
    switch (column) {
    case Stage:
    case Layers:
    case ColumnCount: return true;
    case Weight:
    case Share:
    case Change: return m_hasWeights;
    case Parameters: return m_countsMatches && first != nullptr && first->parameters;
    case Bytes: return first != nullptr && first->bytes;
    case Ranks: return first != nullptr && first->firstRank;
    }
    return true;
}

QString StageRows::text() const
{
    QList<int> shown;
    for (int column = 0; column < ColumnCount; ++column)
        if (has(static_cast<Column>(column)))
            shown << column;
    return tableText(*this, shown);
}

int StageRows::rowCount(const QModelIndex& parent) const
{
    return parent.isValid() ? 0 : static_cast<int>(m_stages.size());
}

int StageRows::columnCount(const QModelIndex& parent) const
{
    return parent.isValid() ? 0 : ColumnCount;
}

QString StageRows::cellText(std::size_t row, Column column) const
{
    const StageFacts& facts = m_stages[row];
    const PartitionStage& stage = facts.stage;
    switch (column) {
    case Stage: return tr("stage %1").arg(numberText(row));
    case Layers:
        if (stage.begin == stage.end)
            return tr("none");
        return stage.end - stage.begin == 1 ? numberText(stage.begin)
                                            : tr("%1 to %2").arg(numberText(stage.begin), numberText(stage.end - 1));
    case Weight: return m_countsMatches ? numberText(stage.weight) : QString::fromStdString(countText(stage.weight));
    case Share:
        return QString::fromStdString(
            percentText(m_balance.most == 0 ? 0 : static_cast<double>(stage.weight) / static_cast<double>(m_balance.most)));
    case Parameters: return QString::fromStdString(countText(facts.parameters.value_or(0)));
    case Bytes: return bytesText(facts.bytes.value_or(0));
    case Ranks: {
        const std::uint64_t first = facts.firstRank.value_or(0);
        return facts.ranks == 1 ? numberText(first) : tr("%1 to %2").arg(numberText(first), numberText(first + facts.ranks - 1));
    }
    case Change: return row < m_original.size() ? changeText(stage.weight, m_original[row].weight) : QString();
    case ColumnCount: break;
    }
    return {};
}

QString StageRows::tipText(std::size_t row, Column column) const
{
    const StageFacts& facts = m_stages[row];
    switch (column) {
    case Weight:
        return m_countsMatches ? tr("%1 layers match").arg(numberText(facts.stage.weight))
                               : tr("%1 trainable parameters").arg(numberText(facts.stage.weight));
    case Parameters: return tr("%1 trainable parameters").arg(numberText(facts.parameters.value_or(0)));
    case Bytes: return tr("%1 B in the checkpoint: weights, copies, optimizer states and buffers").arg(numberText(facts.bytes.value_or(0)));
    case Share: return tr("The line is the mean: %1").arg(numberText(static_cast<std::uint64_t>(m_balance.mean)));
    case Change: return tr("What the stage holds more or less than with DeepSpeed's boundaries");
    case Ranks: return tr("rank = (stage × data + data index) × tensor + tensor index");
    case Stage:
    case Layers:
    case ColumnCount: break;
    }
    return {};
}

QVariant StageRows::data(const QModelIndex& index, int role) const
{
    if (!checkIndex(index, CheckIndexOption::IndexIsValid))
        return {};
    const auto row = static_cast<std::size_t>(index.row());
    const auto column = static_cast<Column>(index.column());
    switch (role) {
    case Qt::DisplayRole: return cellText(row, column);
    case Qt::ToolTipRole: return tipText(row, column);
    case Qt::TextAlignmentRole:
        return static_cast<int>(
            (column == Stage || column == Layers || column == Ranks || column == Share ? Qt::AlignLeft : Qt::AlignRight) |
            Qt::AlignVCenter);
    case ShareRole:
        return m_balance.most == 0 ? 0.0 : static_cast<double>(m_stages[row].stage.weight) / static_cast<double>(m_balance.most);
    case MeanRole: return m_balance.most == 0 ? 0.0 : m_balance.mean / static_cast<double>(m_balance.most);
    default: return {};
    }
}

QVariant StageRows::headerData(int section, Qt::Orientation orientation, int role) const
{
    if (orientation != Qt::Horizontal || section < 0 || section >= ColumnCount)
        return {};
    if (role == Qt::TextAlignmentRole)
        return static_cast<int>(
            (section == Stage || section == Layers || section == Ranks || section == Share ? Qt::AlignLeft : Qt::AlignRight) |
            Qt::AlignVCenter);
    if (role != Qt::DisplayRole)
        return {};
    switch (static_cast<Column>(section)) {
    case Stage: return tr("stage");
    case Layers: return tr("layers");
    case Weight: return m_countsMatches ? tr("matches") : tr("parameters");
    case Share: return tr("of the heaviest");
    case Parameters: return tr("parameters");
    case Bytes: return tr("bytes");
    case Ranks: return tr("ranks");
    case Change: return tr("change");
    case ColumnCount: break;
    }
    return {};
}

} // namespace shardlens::ui
