#pragma once

#include "core/numeric/statistics.h"

#include <QWidget>

#include <vector>

class QCPBars;
class QCustomPlot;

namespace shardlens::ui {

// How often values of each size occur. Replots when it is given bins.
class HistogramPlot : public QWidget {
    Q_OBJECT
public:
    explicit HistogramPlot(QWidget* parent = nullptr);

    void show(std::vector<HistogramBin> bins);
    // Counts on a logarithmic axis: rare values stay visible.
    void setLogarithmic(bool on);
    [[nodiscard]] const std::vector<HistogramBin>& bins() const { return m_bins; }
    [[nodiscard]] QSize sizeHint() const override;

private:
    void applyTheme();
    void place();

    QCustomPlot* m_plot; // a child widget
    QCPBars* m_bars;
    std::vector<HistogramBin> m_bins;
    bool m_isLogarithmic = false;
};

} // namespace shardlens::ui
