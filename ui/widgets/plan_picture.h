#pragma once

#include "ui/widgets/plan_picture_model.h"

#include <QWidget>

#include <vector>

namespace shardlens::ui {

// The picture of a plan: the files now, the files then, and bands between them in the colours of the ranks that hold the bytes now.
// Hovering a file keeps its bands and fades the rest; what is hovered is said in a tooltip.
class PlanPicture : public QWidget {
    Q_OBJECT
public:
    explicit PlanPicture(QWidget* parent = nullptr);

    // nullptr: an empty frame of the same size.
    void setModel(PlanPictureModelPtr model);
    [[nodiscard]] QSize sizeHint() const override;
    // The picture in words: for screen readers and the table twin.
    [[nodiscard]] QString description() const;

protected:
    void paintEvent(QPaintEvent* event) override;
    void resizeEvent(QResizeEvent* event) override;
    void mouseMoveEvent(QMouseEvent* event) override;
    void leaveEvent(QEvent* event) override;
    bool event(QEvent* event) override;

private:
    struct Row {
        std::vector<double> lefts; // of the lanes
        double scale = 0;          // pixels a byte
        double top = 0;
    };
    struct Hit {
        bool before = true;
        std::size_t lane = 0;
        auto operator<=>(const Hit&) const = default;
    };

    void place();
    void placeRow(Row& row, const std::vector<PlanLane>& lanes, double scale) const;
    [[nodiscard]] double gapOf(std::size_t lanes) const;
    [[nodiscard]] std::optional<Hit> hitAt(const QPointF& at) const;
    [[nodiscard]] QString tipOf(const Hit& hit) const;
    void paintNotes(QPainter& painter) const;
    void paintBands(QPainter& painter) const;
    void paintLanes(QPainter& painter, bool before) const;
    void paintLane(QPainter& painter, const PlanLane& lane, const QRectF& where, double scale) const;
    void paintLaneLabels(QPainter& painter, bool before) const;
    void paintStubs(QPainter& painter) const;

    PlanPictureModelPtr m_model;
    Row m_before;
    Row m_after;
    int m_zoom = 1; // how much wider the target is drawn than the source
    std::optional<Hit> m_hover;
};

} // namespace shardlens::ui
