#pragma once

#include "core/encoding/tensor_reader.h"

#include <QWidget>

#include <memory>
#include <optional>

class QLineEdit;
class QSpinBox;

namespace shardlens::ui {

class HexView;
class TextLabel;

// The bytes of one piece of a tensor in its file (design.md §3, Bytes): which file and offset above, hex view below, any offset to jump to.
class BytesView : public QWidget {
    Q_OBJECT
public:
    explicit BytesView(QWidget* parent = nullptr);

    // nullptr: empty. Shows the first piece that has bytes.
    void setTensor(std::shared_ptr<const StreamSet> streams, TensorId tensor);
    // One of the tensor's pieces.
    void showPiece(PieceId piece);
    [[nodiscard]] std::optional<PieceId> piece() const { return m_piece; }
    // "1234" or "0x4D2"; says why not where it is no offset of the file.
    bool goTo(const QString& offset);
    void focusOffsetField();
    [[nodiscard]] HexView* hex() const { return m_hex; }
    [[nodiscard]] QString placeText() const;

signals:
    void pieceChosen(shardlens::PieceId piece);

private:
    void showPlace();

    std::shared_ptr<const StreamSet> m_streams;
    TensorId m_tensor{};
    std::optional<PieceId> m_piece;
    QSpinBox* m_number;
    TextLabel* m_place;
    QLineEdit* m_offset;
    HexView* m_hex;
};

} // namespace shardlens::ui
