#pragma once

#include "core/analysis/statistics.h"
#include "ui/models/runner.h"

#include <QTimer>
#include <QWidget>

#include <array>
#include <atomic>
#include <memory>

class QCheckBox;

namespace shardlens::ui {

class HistogramPlot;
class Link;
class TextLabel;

// What values a tensor holds (design.md §3, Statistics): of a sample at once, then of all of them, which can be called off.
// Reading starts when the view shows and stops when it is hidden.
class StatisticsView : public QWidget {
    Q_OBJECT
public:
    explicit StatisticsView(QWidget* parent = nullptr);

    // nullptr: empty.
    void setTensor(CheckpointPtr checkpoint, TensorId tensor);
    void cancel();
    [[nodiscard]] bool isExact() const { return m_isExact; }
    [[nodiscard]] bool isRunning() const { return m_run.isRunning(); }
    [[nodiscard]] HistogramPlot* plot() const { return m_plot; }
    // "of 65,536 sampled values", "exact", or why there is nothing.
    [[nodiscard]] QString status() const;

protected:
    void showEvent(QShowEvent* event) override;
    void hideEvent(QHideEvent* event) override;
    void keyPressEvent(QKeyEvent* event) override;

private:
    enum Figure { Values, Min, Max, Mean, Deviation, Zeros, Nans, PositiveInf, NegativeInf, FigureCount };
    using JobSlot = std::atomic<std::shared_ptr<JobContext>>;

    void buildFigures();
    void begin();
    void sample();
    void readAll();
    void showFound(const TensorStatistics& found);
    void showProgress();
    void showAction();
    void fail(const Error& error);

    CheckpointPtr m_checkpoint;
    TensorId m_tensor{};
    bool m_isExact = false;
    bool m_isSampled = false;
    bool m_isCancelled = false; // by the user: nothing is read again unasked
    TextLabel* m_title;
    TextLabel* m_status;
    Link* m_action;
    QCheckBox* m_logarithmic;
    HistogramPlot* m_plot;
    QWidget* m_figures;
    std::array<TextLabel*, FigureCount> m_numbers{};
    Runner m_run;
    QTimer m_poll;
    std::shared_ptr<JobSlot> m_job; // filled by the worker, which alone knows the stop token
};

} // namespace shardlens::ui
