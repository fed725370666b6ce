#pragma once

#include "ui/models/tensor_bands.h"
#include "ui/widgets/hover_card.h"
#include "ui/widgets/tensor_picture_layout.h"

#include <QTimer>
#include <QWidget>

#include <optional>

namespace shardlens::ui {

// The index space of one tensor to scale, its pieces in the colours of their ranks (design.md §5). Compact: the small one of the inspector,
// without axes, labels at the side and hover card.
class TensorPicture : public QWidget {
    Q_OBJECT
public:
    explicit TensorPicture(QWidget* parent = nullptr);

    // nullptr: nothing.
    void setTensor(CheckpointPtr checkpoint, TensorId tensor);
    void clear() { setTensor(nullptr, {}); }
    void setCompact(bool compact);
    // Which of the ranks that hold the same region is shown, from 0.
    void setCopy(std::uint32_t copy);
    // The tile of the leading axes that shows where there are more than PictureLayout::kMostTiles.
    void setTile(std::uint64_t tile);
    void setSelectedPiece(std::optional<PieceId> piece);
    // Parts and heads of the tensor; nothing: it is drawn by pieces alone. Forgotten with the next tensor.
    void setBands(std::optional<TensorBands> bands);

    [[nodiscard]] const std::optional<TensorBands>& bands() const { return m_bands; }
    [[nodiscard]] std::uint32_t copies() const { return m_boxes.copies; }
    [[nodiscard]] std::uint64_t tiles() const { return m_boxes.tiles; }
    [[nodiscard]] const PictureBoxes& boxes() const { return m_boxes; }
    [[nodiscard]] const PictureLayout& pictureLayout() const { return m_layout; }
    // "11008 × 4096, cut into 2 pieces on 2 ranks"
    [[nodiscard]] QString caption() const;
    [[nodiscard]] std::optional<PieceId> pieceAt(QPointF point) const;
    [[nodiscard]] QSize sizeHint() const override;
    [[nodiscard]] QSize minimumSizeHint() const override;

signals:
    void pieceClicked(shardlens::PieceId piece);
    void pieceActivated(shardlens::PieceId piece); // double click, Enter
    void hoverTextChanged(const QString& text);

protected:
    void paintEvent(QPaintEvent* event) override;
    void resizeEvent(QResizeEvent* event) override;
    void mouseMoveEvent(QMouseEvent* event) override;
    void mousePressEvent(QMouseEvent* event) override;
    void mouseDoubleClickEvent(QMouseEvent* event) override;
    void leaveEvent(QEvent* event) override;
    void keyPressEvent(QKeyEvent* event) override;

private:
    void rebuild();
    void updateLayout();
    void step(int by);
    void stepBand(int by);
    void announce();
    void showCard();
    void paintBoxes(QPainter& painter) const;
    void paintBands(QPainter& painter) const;
    void paintLegend(QPainter& painter) const;
    void paintCuts(QPainter& painter) const;
    void paintBoxLabels(QPainter& painter) const;
    void paintSideLabels(QPainter& painter) const;
    void paintAxes(QPainter& painter) const;
    void paintSelection(QPainter& painter) const;
    [[nodiscard]] QRectF pictureRoom() const;
    [[nodiscard]] QColor colourOf(PieceId piece) const;
    [[nodiscard]] QString rankText(PieceId piece) const;
    [[nodiscard]] HoverCardContent cardAt(QPointF point) const;
    // The bands lie along rows, along columns, or not in the plane that shows.
    enum class BandAxis : std::uint8_t { None, Rows, Columns };
    [[nodiscard]] BandAxis bandAxis() const;
    // Pixels of the smallest band.
    [[nodiscard]] double leastBand() const;
    [[nodiscard]] bool showsBands() const { return bandAxis() != BandAxis::None && leastBand() >= 1; }
    [[nodiscard]] const TensorBand* bandAt(QPointF point) const;
    [[nodiscard]] QString bandText(const TensorBand* band) const;
    [[nodiscard]] QString legendNote() const;
    // The note goes below the swatches where there is no room beside them.
    [[nodiscard]] double swatchesWidth() const;
    [[nodiscard]] int legendLines() const;

    CheckpointPtr m_checkpoint;
    TensorId m_tensor{};
    PictureRequest m_request;
    bool m_compact = false;
    PictureBoxes m_boxes;
    PictureLayout m_layout;
    std::optional<TensorBands> m_bands;
    std::optional<std::size_t> m_band; // that the keys have come to
    std::optional<PieceId> m_selected;
    HoverCard* m_card;
    QTimer m_hoverTimer;
    QPoint m_cursor;
};

} // namespace shardlens::ui
