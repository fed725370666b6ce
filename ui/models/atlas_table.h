#pragma once

#include "ui/models/atlas_model.h"

#include <QAbstractTableModel>

namespace shardlens::ui {

// The atlas as a table: every piece that it draws, lane by lane (design.md §12, the table twin).
class AtlasTable : public QAbstractTableModel {
    Q_OBJECT
public:
    enum Column { Rank, State, Tensor, Box, Offset, Bytes, FileName, ColumnCount };

    explicit AtlasTable(QObject* parent = nullptr) : QAbstractTableModel(parent) {}

    void setModel(AtlasModelPtr model);
    [[nodiscard]] PieceId pieceAt(int row) const;
    // −1 where the piece is not in the picture.
    [[nodiscard]] int rowOf(PieceId piece) const;

    [[nodiscard]] int rowCount(const QModelIndex& parent = {}) const override;
    [[nodiscard]] int columnCount(const QModelIndex& parent = {}) const override;
    [[nodiscard]] QVariant data(const QModelIndex& index, int role) const override;
    [[nodiscard]] QVariant headerData(int section, Qt::Orientation orientation, int role) const override;

private:
    [[nodiscard]] QString textAt(PieceId piece, int column) const;

    AtlasModelPtr m_model;
    std::vector<std::size_t> m_firstRow; // of every lane, and the end
};

} // namespace shardlens::ui
