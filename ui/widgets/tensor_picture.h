#pragma once

#include "ui/models/tensor_bands.h"
#include "ui/widgets/hover_card.h"
#include "ui/widgets/tensor_picture_layout.h"

#include <QPixmap>
#include <QTimer>
#include <QWidget>

#include <map>
#include <optional>
#include <vector>

namespace shardlens::ui {

// The index space of one tensor to scale, its pieces in the colours of their ranks, else of their files (design.md §5); holes red, what two places hold hatched
// in both colours. Compact: the small one of the inspector, without axes, labels at the side and hover card. What does not follow the mouse or the selection
// is painted once and kept.
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
    // The tile of the folded axes that shows where there are more than PictureLayout::kMostTiles.
    void setTile(std::uint64_t tile);
    // Which two axes are drawn; a new tensor begins with bestAxesOf().
    void setAxes(PictureAxes axes);
    void setSelectedPiece(std::optional<PieceId> piece);
    // Outlines a fault, by its place in faults().list.
    void setSelectedFault(std::optional<std::size_t> fault);
    // Parts and heads of the tensor; nothing: it is drawn by pieces alone. Forgotten with the next tensor.
    void setBands(std::optional<TensorBands> bands);

    [[nodiscard]] const std::optional<TensorBands>& bands() const { return m_bands; }
    [[nodiscard]] std::uint32_t copies() const { return m_boxes.copies; }
    [[nodiscard]] std::uint64_t tiles() const { return m_boxes.tiles; }
    [[nodiscard]] const PictureBoxes& boxes() const { return m_boxes; }
    [[nodiscard]] const TensorFaults& faults() const { return m_faults; }
    [[nodiscard]] std::optional<std::size_t> selectedFault() const { return m_fault; }
    [[nodiscard]] const PictureLayout& pictureLayout() const { return m_layout; }
    // "11008 × 4096, cut into 2 pieces on 2 ranks"
    [[nodiscard]] const QString& caption() const { return m_caption; }
    // Which axes go where, for tensors of more than two; empty for others.
    [[nodiscard]] QString axesWords() const;
    [[nodiscard]] std::optional<PieceId> pieceAt(QPointF point) const;
    [[nodiscard]] std::optional<std::size_t> faultAt(QPointF point) const;
    // What the card beside the pointer says.
    [[nodiscard]] HoverCardContent cardAt(QPointF point) const;
    [[nodiscard]] QColor colourOf(PieceId piece) const;
    [[nodiscard]] QSize sizeHint() const override;
    [[nodiscard]] QSize minimumSizeHint() const override;

signals:
    void pieceClicked(shardlens::PieceId piece);
    void pieceActivated(shardlens::PieceId piece); // double click, Enter
    void faultClicked(std::size_t fault); // or come to by N, Shift+N
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
    void stepFault(int by);
    void readPieces();
    [[nodiscard]] QString captionText() const;
    void paintStill(QPainter& painter) const;
    void announce();
    void showCard();
    void paintBoxes(QPainter& painter) const;
    void paintHoles(QPainter& painter) const;
    void paintOverlaps(QPainter& painter) const;
    void paintFaultLabels(QPainter& painter) const;
    void paintBands(QPainter& painter) const;
    void paintLegend(QPainter& painter) const;
    void paintCuts(QPainter& painter) const;
    void paintBoxLabels(QPainter& painter) const;
    void paintSideLabels(QPainter& painter) const;
    void paintGridLabels(QPainter& painter) const;
    void paintGridColumns(QPainter& painter, const QRectF& below, double last) const;
    [[nodiscard]] QString tileText(std::uint64_t tile) const;
    [[nodiscard]] QRectF tileChip(std::uint64_t tile, const QFontMetricsF& metrics) const;
    [[nodiscard]] QRectF labelRoom(const QRectF& rect, QStringList& lines, const QFontMetrics& metrics) const;
    void paintTileNumbers(QPainter& painter) const;
    void paintAxes(QPainter& painter) const;
    void paintSelection(QPainter& painter) const;
    [[nodiscard]] QRectF pictureRoom() const;
    [[nodiscard]] std::uint32_t slotOf(PieceId piece) const;
    [[nodiscard]] QString rankText(PieceId piece) const;
    [[nodiscard]] QString fileText(PieceId piece) const;
    [[nodiscard]] HoverCardContent faultCard(std::size_t fault, const QString& place) const;
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
    TensorFaults m_faults;
    PictureBoxes m_boxes;
    PictureLayout m_layout;
    QString m_caption;
    std::vector<PieceId> m_order;              // pieces that show, by their first boxes
    std::map<FileId, std::uint32_t> m_files;   // those that hold parts of the tensor, numbered in order
    QPixmap m_still;                           // null: to be painted anew
    std::optional<TensorBands> m_bands;
    std::optional<std::size_t> m_band; // that the keys have come to
    std::optional<PieceId> m_selected;
    std::optional<std::size_t> m_fault;
    HoverCard* m_card;
    QTimer m_hoverTimer;
    QPoint m_cursor;
};

} // namespace shardlens::ui
