#pragma once

#include "core/convert/plan.h"
#include "core/quantized/precision.h"
#include "ui/models/runner.h"
#include "ui/widgets/card.h"

#include <memory>
#include <vector>

class QGridLayout;
class QPushButton;

namespace shardlens::ui {

class DepthPlot;
class Link;
class TextLabel;

// What a plan's casts and quantization lose, measured before anything is written: a sample at once, every value when asked. The worst tensors, a plot over the layers, and
// which to keep.
class ConvertPrecision : public Card {
    Q_OBJECT
public:
    explicit ConvertPrecision(QWidget* parent = nullptr);

    // Measures a sample of what the plan changes; hides itself where that is nothing. nullptr: the plan is gone.
    void setPlan(const std::shared_ptr<const Plan>& plan);
    [[nodiscard]] const std::vector<TensorPrecision>& tensors() const { return m_tensors; }
    void measureAll();
    [[nodiscard]] QPushButton* keep() const { return m_keep; } // hidden where the advice keeps none
    [[nodiscard]] DepthPlot* plot() const { return m_plot; }
    // The table as it is exported; empty before anything was measured.
    [[nodiscard]] QString csv() const;

signals:
    // The pattern of the tensors that the advice keeps.
    void keepAsked(const QString& pattern);
    // A point of the plot.
    void tensorChosen(const QString& name);

private:
    void measure(bool exact);
    void showResult(Result<std::vector<TensorPrecision>> found, bool exact);
    void showPlot();
    void showTable();
    void exportCsv();

    std::shared_ptr<const Plan> m_plan;
    std::vector<TensorPrecision> m_tensors; // the worst first
    std::vector<std::string> m_plotted;     // names, in the model's order
    TextLabel* m_state;
    TextLabel* m_advice;
    QPushButton* m_keep;
    DepthPlot* m_plot;
    QWidget* m_table;
    QGridLayout* m_rows;
    Link* m_exact;
    Link* m_export;
    QString m_pattern;
    Runner m_runner;
};

} // namespace shardlens::ui
