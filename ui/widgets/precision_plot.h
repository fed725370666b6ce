#pragma once

#include "core/quantized/precision.h"

#include <QWidget>

#include <optional>
#include <vector>

class QCPGraph;
class QCPItemStraightLine;
class QCustomPlot;

namespace shardlens::ui {

// Signal to noise of each tensor over the depth of the model, as points; those below 15 dB in the colour of warnings. A point under the cursor says its name; a click chooses it.
class PrecisionPlot : public QWidget {
    Q_OBJECT
public:
    explicit PrecisionPlot(QWidget* parent = nullptr);

    // In the model's order.
    void setTensors(std::vector<TensorPrecision> tensors);
    // What is said of the point nearest to a place of this widget; nothing where none is near.
    [[nodiscard]] std::optional<std::size_t> pointAt(QPointF place) const;
    [[nodiscard]] const std::vector<TensorPrecision>& tensors() const { return m_tensors; }
    [[nodiscard]] QSize sizeHint() const override;

signals:
    void chosen(const QString& name);

protected:
    bool event(QEvent* event) override; // the tooltip
    void mousePressEvent(QMouseEvent* event) override;

private:
    void applyTheme();
    void place();

    QCustomPlot* m_plot; // a child widget
    QCPGraph* m_good;
    QCPGraph* m_poor;
    std::vector<TensorPrecision> m_tensors;
};

} // namespace shardlens::ui
