#pragma once

#include "ui/models/rank_uses.h"

#include <QAbstractTableModel>

namespace shardlens::ui {

// The grid's table twin: a row a rank, with its place on the axes, what it holds, and its files.
class RankRows : public QAbstractTableModel {
    Q_OBJECT
public:
    enum Column { Rank, Place, Bytes, OfMean, State, Files, ColumnCount };

    using QAbstractTableModel::QAbstractTableModel;

    void show(CheckpointPtr checkpoint, RankUsesPtr uses);

    [[nodiscard]] int rowCount(const QModelIndex& parent = {}) const override;
    [[nodiscard]] int columnCount(const QModelIndex& parent = {}) const override;
    [[nodiscard]] QVariant data(const QModelIndex& index, int role = Qt::DisplayRole) const override;
    [[nodiscard]] QVariant headerData(int section, Qt::Orientation orientation, int role = Qt::DisplayRole) const override;

private:
    [[nodiscard]] QString cellText(std::uint32_t rank, int column) const;

    CheckpointPtr m_checkpoint;
    RankUsesPtr m_uses;
};

// "1.03 ×"
[[nodiscard]] QString timesText(double factor);
// "fp32 master 1.2 MiB, exp_avg 1.2 MiB": what a rank holds by state; "nothing".
[[nodiscard]] QString statesText(const Checkpoint& checkpoint, const RankUse& use);
// "a.pt, b.pt and 3 more"
[[nodiscard]] QString filesText(const Checkpoint& checkpoint, const RankUse& use, std::size_t most);

} // namespace shardlens::ui
