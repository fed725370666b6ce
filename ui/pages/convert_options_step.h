#pragma once

#include "ui/pages/convert_step.h"

#include <array>

class QCheckBox;
class QComboBox;
class QGridLayout;
class QLineEdit;
class QRadioButton;
class QSpinBox;

namespace shardlens::ui {

class TextLabel;

// "What goes in?" Each choice with its size and the reason for its default.
class ConvertOptionsStep : public ConvertStep {
    Q_OBJECT
public:
    explicit ConvertOptionsStep(QWidget* parent = nullptr);
    void load(const JobDraft& draft, const StepFacts& facts) override;
    [[nodiscard]] QString summary(const JobDraft& draft, const StepFacts& facts) const override;
    [[nodiscard]] QString obstacle(const JobDraft& draft, const StepFacts& facts) const override;

private:
    struct Content {
        Select select;
        QRadioButton* button;
        TextLabel* note;
    };

    void makeContents(QGridLayout* grid);
    void makePrecision(QGridLayout* grid);
    void makeSizes(QGridLayout* grid);
    void makeChecks(QGridLayout* grid);
    void makeMore(QGridLayout* grid);
    // A labelled row; returns where its reason goes.
    TextLabel* addRow(QGridLayout* grid, const QString& label, QWidget* control);
    void loadContents();
    [[nodiscard]] QString noteOf(Select select, const ContentFacts& found) const;
    void loadReasons();
    // The user has touched a control: the draft becomes what the controls say.
    void take();

    std::array<Content, 4> m_contents{};
    QComboBox* m_dtype;
    TextLabel* m_dtypeReason;
    QComboBox* m_maxShard;
    TextLabel* m_maxShardReason;
    QComboBox* m_memory;
    TextLabel* m_memoryReason;
    QSpinBox* m_threads;
    TextLabel* m_device;
    QCheckBox* m_verify;
    QCheckBox* m_overwrite;
    QLineEdit* m_include;
    QLineEdit* m_exclude;
    TextLabel* m_patternReason;
    StepFacts m_facts;
    bool m_loading = false;
};

} // namespace shardlens::ui
