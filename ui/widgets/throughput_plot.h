#pragma once

#include "ui/jobs/job_rate.h"

#include <QWidget>

#include <deque>

class QCustomPlot;
class QCPGraph;
class QCPItemLine;
class QCPItemText;

namespace shardlens::ui {

// Bytes a second over the last minute, read and written, as two lines. Replots when it is given samples: at most 10 times a second, whoever asks.
class ThroughputPlot : public QWidget {
    Q_OBJECT
public:
    explicit ThroughputPlot(QWidget* parent = nullptr);

    // `running`: a dashed line marks the present.
    void show(const std::deque<RateSample>& samples, bool running);
    // "GB/s" or "MB/s": what the axis counts in, after the largest value.
    [[nodiscard]] const QString& unit() const { return m_unit; }
    [[nodiscard]] QSize sizeHint() const override;

private:
    void applyTheme();
    void placeAxes(const std::deque<RateSample>& samples, double largest);
    void placeNow(double seconds, bool running);

    QCustomPlot* m_plot; // a child widget
    QCPGraph* m_read;
    QCPGraph* m_written;
    QCPItemLine* m_now;
    QCPItemText* m_nowText;
    QString m_unit;
};

// The key of the plot's two lines, for the head of its card.
class ThroughputLegend : public QWidget {
    Q_OBJECT
public:
    explicit ThroughputLegend(QWidget* parent = nullptr);
    [[nodiscard]] QSize sizeHint() const override;

protected:
    void paintEvent(QPaintEvent* event) override;
};

// The smallest of 1, 2, 3, 5, 10 times a power of ten that is at least `value`: the top of an axis that reads well. 1 for values ≤ 0.
[[nodiscard]] double niceTop(double value);

} // namespace shardlens::ui
