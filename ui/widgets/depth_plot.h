#pragma once

#include <QWidget>

#include <cstddef>
#include <optional>
#include <vector>

class QCPGraph;
class QCustomPlot;

namespace shardlens::ui {

// A tensor's place and height in a plot over the depth of the model.
struct DepthPoint {
    double height = 0;
    bool isMarked = false; // in the colour of warnings
    QString words;         // of the tooltip
};

// Points side by side, the first layer at the left. One under the cursor says its words; a click, or Enter after arrow keys, chooses it.
class DepthPlot : public QWidget {
    Q_OBJECT
public:
    // `heights`: what the vertical axis counts.
    explicit DepthPlot(const QString& heights, QWidget* parent = nullptr);

    // From left to right. Heights are drawn to a logarithmic scale where all are positive and far apart.
    void setPoints(std::vector<DepthPoint> points);
    [[nodiscard]] const std::vector<DepthPoint>& points() const { return m_points; }
    // The point nearest to a place of this widget; nothing where none is near.
    [[nodiscard]] std::optional<std::size_t> pointAt(QPointF place) const;
    [[nodiscard]] QPointF placeOf(std::size_t point) const;
    // A ring around it.
    void setCurrent(std::optional<std::size_t> point);
    [[nodiscard]] std::optional<std::size_t> current() const { return m_current; }
    [[nodiscard]] QSize sizeHint() const override;

signals:
    void chosen(std::size_t point);

protected:
    bool event(QEvent* event) override; // the tooltip
    void mousePressEvent(QMouseEvent* event) override;
    void keyPressEvent(QKeyEvent* event) override;
    void paintEvent(QPaintEvent* event) override; // the ring of the focus
    void focusInEvent(QFocusEvent* event) override;
    void focusOutEvent(QFocusEvent* event) override;

private:
    void applyTheme();
    void place();
    void placeHeights();
    void announce();

    QCustomPlot* m_plot; // a child widget
    QCPGraph* m_plain;
    QCPGraph* m_marked;
    QCPGraph* m_ring;
    QString m_heights;
    std::vector<DepthPoint> m_points;
    std::optional<std::size_t> m_current;
};

} // namespace shardlens::ui
