#pragma once

#include "ui/pages/convert_option_grid.h"
#include "ui/pages/convert_step.h"

#include <QObject>

class QComboBox;

namespace shardlens::ui {

// The row of the rules by which the ranks of a source divide its parameters. Another choice opens the source anew. It shows where it matters:
// for sources of tensor-parallel ranks, and where such ranks can be made of them.
class ConvertRulesOption : public QObject {
    Q_OBJECT
public:
    ConvertRulesOption(OptionGrid& grid, QObject* parent);

    // Never signals edited().
    void load(const JobDraft& draft, const StepFacts& facts);
    void take(JobDraft& draft) const;
    // As the file dialog does.
    void chooseFile(const QString& path);

signals:
    void edited();

private:
    void list(const std::optional<std::string>& chosen);
    void askForFile();
    [[nodiscard]] QString reasonOf(const JobDraft& draft, const StepFacts& facts) const;

    QComboBox* m_rules;
    OptionRow m_row;
    bool m_isShown = false;
};

} // namespace shardlens::ui
