#pragma once

#include <QWidget>

#include <cstdint>
#include <optional>
#include <vector>

namespace shardlens::ui {

class PipelinePlan;

// The layers of a plan side by side, as wide as what they weigh, in the colours of their stages, with the boundaries as handles: dragged, or chosen
// with Up and Down and moved with Left and Right. Where DeepSpeed cuts is marked once a boundary was moved. The plan outlives the strip.
class StageStrip : public QWidget {
    Q_OBJECT
public:
    explicit StageStrip(PipelinePlan* plan, QWidget* parent = nullptr);

    // 1 … stages − 1; 0: none is chosen.
    [[nodiscard]] std::size_t boundary() const { return m_boundary; }
    void chooseBoundary(std::size_t boundary);
    // "Boundary 1: stage 1 begins with layer 7, model.layers.6"; what can be done where none is chosen.
    [[nodiscard]] QString boundarySentence() const;

    // Where layer `layer` begins; the number of layers gives the right end.
    [[nodiscard]] double edgeOf(std::size_t layer) const { return m_edges[layer]; }
    [[nodiscard]] std::optional<std::size_t> layerAt(double x) const;
    // The boundary whose handle a point meets: of several at one place the chosen one, else the first.
    [[nodiscard]] std::optional<std::size_t> boundaryAt(double x) const;
    // A layer that is marked, for example because a tensor of it is selected.
    void markLayer(std::optional<std::size_t> layer);

    [[nodiscard]] QSize sizeHint() const override;
    [[nodiscard]] QSize minimumSizeHint() const override;

signals:
    void boundaryChosen(std::size_t boundary);
    void layerChosen(std::size_t layer);

protected:
    void paintEvent(QPaintEvent* event) override;
    void resizeEvent(QResizeEvent* event) override;
    void mousePressEvent(QMouseEvent* event) override;
    void mouseMoveEvent(QMouseEvent* event) override;
    void mouseReleaseEvent(QMouseEvent* event) override;
    void keyPressEvent(QKeyEvent* event) override;
    void focusInEvent(QFocusEvent* event) override;
    void focusOutEvent(QFocusEvent* event) override;
    bool event(QEvent* event) override;

private:
    void follow();
    void place();
    void drag(double x);
    [[nodiscard]] const std::vector<std::uint32_t>& parts() const;
    [[nodiscard]] std::uint32_t nearestEdge(double x) const;
    [[nodiscard]] QString tipAt(const QPoint& at) const;
    void paintStage(QPainter& painter, std::size_t stage) const;
    void paintLayers(QPainter& painter, std::size_t stage, const QColor& colour) const;
    void paintLabels(QPainter& painter, std::size_t stage) const;
    void paintHandles(QPainter& painter) const;
    void paintHandle(QPainter& painter, std::size_t boundary, double x) const;
    void paintOriginal(QPainter& painter) const;
    void paintMark(QPainter& painter) const;

    PipelinePlan* m_plan;
    std::vector<double> m_widths;
    std::vector<double> m_edges{0.0}; // of the layers, and the right end
    std::size_t m_boundary = 0;
    std::optional<std::size_t> m_marked;
    bool m_isDragging = false;
    double m_pressedAt = 0;
};

} // namespace shardlens::ui
