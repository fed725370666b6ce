#pragma once

#include "core/model/topology.h"
#include "ui/pages/convert_option_grid.h"
#include "ui/pages/convert_step.h"

#include <vector>

class QCheckBox;
class QComboBox;
class QSpinBox;

namespace shardlens::ui {

// The rows of a goal that takes the source as a whole: ranks of every axis and stage of a run, and objects that are no tensors. They show for these goals only.
class ConvertWholeOptions : public QObject {
    Q_OBJECT
public:
    ConvertWholeOptions(OptionGrid& grid, QObject* parent);
    // The last row, below those of others.
    void addResult(OptionGrid& grid);

    // Never signals edited().
    void load(const JobDraft& draft, const StepFacts& facts);
    // Writes what the rows say into the draft, where its goal has them.
    void take(JobDraft& draft) const;
    [[nodiscard]] static QString summary(const JobDraft& draft, const StepFacts& facts);
    // Why the choices cannot be met; empty: they can, or it is not known yet.
    [[nodiscard]] static QString obstacle(const JobDraft& draft, const StepFacts& facts);

signals:
    void edited();

private:
    struct AxisSize { // how many ranks of one kind the result has
        Axis axis;
        OptionRow row;
        QSpinBox* size;
        std::uint32_t source = 0; // 0: not known
        bool isShown = false;
    };

    [[nodiscard]] static QString reasonOf(const JobDraft& draft, const AxisSize& axis, std::optional<std::uint32_t> chosen, const StepFacts& facts);
    void loadAxes(const JobDraft& draft, const StepFacts& facts);
    void loadStage(const JobDraft& draft, const StepFacts& facts);
    void loadResult(const StepFacts& facts);
    void loadObjects(const JobDraft& draft, const StepFacts& facts);

    OptionRow m_contents;
    std::vector<AxisSize> m_axes;
    OptionRow m_stage;
    OptionRow m_objects;
    OptionRow m_result;
    TextLabel* m_size;
    QComboBox* m_zeroStage;
    QCheckBox* m_keep;
};

} // namespace shardlens::ui
