#pragma once

#include "ui/pages/convert_option_grid.h"
#include "ui/pages/convert_step.h"

#include <QObject>

class QComboBox;
class QLineEdit;
class QSpinBox;

namespace shardlens::ui {

class TextLabel;

// The rows of the goal that makes MindSpore's files: the strategy that says which rank holds what, the container, the beginning of file names, a single rank.
// They show for this goal only.
class ConvertMindSporeOptions : public QObject {
    Q_OBJECT
public:
    ConvertMindSporeOptions(OptionGrid& grid, QObject* parent);

    // Never signals edited().
    void load(const JobDraft& draft, const StepFacts& facts);
    // Writes what the rows say into the draft, where its goal has them.
    void take(JobDraft& draft) const;
    [[nodiscard]] static QString summary(const JobDraft& draft, const StepFacts& facts);
    // Why the choices cannot be met; empty: they can.
    [[nodiscard]] static QString obstacle(const JobDraft& draft, const StepFacts& facts);
    // As the dialogs do: a strategy file, or a folder of the stages' files.
    void chooseStrategy(const QString& path);
    [[nodiscard]] QComboBox* container() const { return m_container; }
    [[nodiscard]] QLineEdit* prefix() const { return m_prefix; }
    [[nodiscard]] QSpinBox* rank() const { return m_rank; }

signals:
    void edited();

private:
    QWidget* makeStrategy();
    void list(const std::optional<std::string>& chosen);
    void loadRank(const JobDraft& draft, const StepFacts& facts);
    void askForStrategy(bool isFolder);

    QComboBox* m_strategy;
    QComboBox* m_container;
    QLineEdit* m_prefix;
    QSpinBox* m_rank;
    TextLabel* m_size;
    OptionRow m_strategyRow;
    OptionRow m_containerRow;
    OptionRow m_prefixRow;
    OptionRow m_rankRow;
    OptionRow m_result;
};

} // namespace shardlens::ui
