#pragma once

#include "core/model/checkpoint.h"

#include <QAbstractTableModel>
#include <QTableView>

#include <optional>
#include <vector>

namespace shardlens::ui {

class NameDelegate;

// The files of a checkpoint: name, rank, what it holds, size. Virtual, so that ten thousand files cost nothing.
class FileModel : public QAbstractTableModel {
    Q_OBJECT
public:
    enum Column { Name, Rank, Holds, Size, ColumnCount };

    using QAbstractTableModel::QAbstractTableModel;
    // Only those of `rank` where one is given (RankCover::files).
    void show(const CheckpointPtr& checkpoint, std::optional<std::uint32_t> rank = std::nullopt);
    [[nodiscard]] const CheckpointPtr& checkpoint() const { return m_checkpoint; }
    [[nodiscard]] FileId fileAt(int row) const { return m_files[static_cast<std::size_t>(row)]; }

    [[nodiscard]] int rowCount(const QModelIndex& parent = {}) const override;
    [[nodiscard]] int columnCount(const QModelIndex& parent = {}) const override;
    [[nodiscard]] QVariant data(const QModelIndex& index, int role) const override;
    [[nodiscard]] QVariant headerData(int section, Qt::Orientation orientation, int role) const override;

private:
    [[nodiscard]] QString textAt(const File& file, int column) const;

    CheckpointPtr m_checkpoint;
    std::vector<FileId> m_files; // that show
};

class FileTable : public QTableView {
    Q_OBJECT
public:
    explicit FileTable(QWidget* parent = nullptr);
    void show(const CheckpointPtr& checkpoint, std::optional<std::uint32_t> rank = std::nullopt);
    [[nodiscard]] QSize sizeHint() const override;

signals:
    void fileChosen(shardlens::FileId file);

private:
    void follow();

    FileModel* m_model;
    NameDelegate* m_names;
};

} // namespace shardlens::ui
