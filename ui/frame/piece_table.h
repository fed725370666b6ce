#pragma once

#include "core/model/checkpoint.h"

#include <QPointer>
#include <QTableWidget>

namespace shardlens::ui {

class Document;

// Rows of "where it lies": state, rank, offset, bytes. A row is a piece and can be selected; at most a few hundred are listed.
class PieceTable : public QTableWidget {
    Q_OBJECT
public:
    PieceTable(Document* document, ParameterId parameter, QWidget* parent = nullptr);
    [[nodiscard]] int rows() const { return m_total; }
    [[nodiscard]] QSize sizeHint() const override;

private:
    void fill(ParameterId parameter);
    void addPiece(const Piece& piece, TensorId tensor);

    QPointer<Document> m_document;
    int m_total = 0;
};

} // namespace shardlens::ui
