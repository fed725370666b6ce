#pragma once

#include "core/layout/partition_preview.h"

#include <QAbstractTableModel>

#include <vector>

namespace shardlens::ui {

// The stages of a pipeline, a row each: layers, what they weigh, how much of the heaviest that is, bytes, ranks, and how far from DeepSpeed's.
class StageRows : public QAbstractTableModel {
    Q_OBJECT
public:
    enum Column { Stage, Layers, Weight, Share, Parameters, Bytes, Ranks, Change, ColumnCount };
    // Share: how much of the heaviest stage (0 … 1), and where the mean lies.
    enum Roles { ShareRole = Qt::UserRole + 1, MeanRole };

    using QAbstractTableModel::QAbstractTableModel;

    // `original` are DeepSpeed's stages; as many as those of the preview.
    void show(const PartitionPreview& preview, const std::vector<PartitionStage>& original);
    void clear();
    [[nodiscard]] bool has(Column column) const;
    // All that shows, for the clipboard: tabs between cells, a line each stage.
    [[nodiscard]] QString text() const;

    [[nodiscard]] int rowCount(const QModelIndex& parent = {}) const override;
    [[nodiscard]] int columnCount(const QModelIndex& parent = {}) const override;
    [[nodiscard]] QVariant data(const QModelIndex& index, int role = Qt::DisplayRole) const override;
    [[nodiscard]] QVariant headerData(int section, Qt::Orientation orientation, int role = Qt::DisplayRole) const override;

private:
    [[nodiscard]] QString cellText(std::size_t row, Column column) const;
    [[nodiscard]] QString tipText(std::size_t row, Column column) const;

    std::vector<StageFacts> m_stages;
    std::vector<PartitionStage> m_original;
    PartitionBalance m_balance;
    bool m_hasWeights = false;
    bool m_countsMatches = false;
};

} // namespace shardlens::ui
