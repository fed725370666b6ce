#pragma once

#include "ui/models/overview_summary.h"

#include <QWidget>

namespace shardlens::ui {

// What each rank (else each file) holds, by state. Up to 24 places have a bar of their own; more become a histogram, and a click on a column lists its ranks.
class PlaceBars : public QWidget {
    Q_OBJECT
public:
    explicit PlaceBars(QWidget* parent = nullptr);
    void show(const CheckpointPtr& checkpoint, std::shared_ptr<const OverviewSummary> summary);
    [[nodiscard]] QSize sizeHint() const override;
    [[nodiscard]] QSize minimumSizeHint() const override;
    [[nodiscard]] static QString labelOf(const Checkpoint& checkpoint, const PlaceUse& use);

signals:
    // A place was chosen: its index in OverviewSummary::places.
    void chosen(std::size_t place);

protected:
    void paintEvent(QPaintEvent* event) override;
    void mousePressEvent(QMouseEvent* event) override;
    void keyPressEvent(QKeyEvent* event) override;
    void focusInEvent(QFocusEvent* event) override;
    void focusOutEvent(QFocusEvent* event) override;
    bool event(QEvent* event) override;

private:
    [[nodiscard]] bool isHistogram() const;
    [[nodiscard]] int rowHeight() const;
    [[nodiscard]] int binCount() const;
    [[nodiscard]] std::pair<std::size_t, std::size_t> binRange(int bin) const;
    [[nodiscard]] std::uint64_t largest() const;
    void paintRows(QPainter& painter) const;
    void paintHistogram(QPainter& painter) const;
    void paintMissing(QPainter& painter, const QRectF& room) const;
    [[nodiscard]] std::optional<std::size_t> placeAt(QPoint at) const;
    void chooseFromBin(int bin, QPoint global);
    [[nodiscard]] QString tipOf(std::size_t place) const;

    CheckpointPtr m_checkpoint;
    std::shared_ptr<const OverviewSummary> m_summary;
    std::size_t m_focused = 0;
};

} // namespace shardlens::ui
