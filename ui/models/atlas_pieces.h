#pragma once

#include "core/model/checkpoint.h"

#include <QAbstractTableModel>

namespace shardlens::ui {

// The pieces of one tensor: the table twin of the tensor picture.
class TensorPieces : public QAbstractTableModel {
    Q_OBJECT
public:
    enum Column { Rank, Box, Bytes, Offset, FileName, ColumnCount };

    explicit TensorPieces(QObject* parent = nullptr) : QAbstractTableModel(parent) {}

    // nullptr: none.
    void setTensor(CheckpointPtr checkpoint, TensorId tensor);
    [[nodiscard]] PieceId pieceAt(int row) const;
    [[nodiscard]] int rowOf(PieceId piece) const; // −1: not of this tensor

    [[nodiscard]] int rowCount(const QModelIndex& parent = {}) const override;
    [[nodiscard]] int columnCount(const QModelIndex& parent = {}) const override;
    [[nodiscard]] QVariant data(const QModelIndex& index, int role) const override;
    [[nodiscard]] QVariant headerData(int section, Qt::Orientation orientation, int role) const override;

private:
    CheckpointPtr m_checkpoint;
    TensorId m_tensor{};
};

} // namespace shardlens::ui
