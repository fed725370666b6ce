#pragma once

#include "ui/pages/convert_option_grid.h"
#include "ui/pages/convert_step.h"

#include <array>

class QCheckBox;
class QComboBox;
class QLineEdit;
class QRadioButton;
class QSpinBox;

namespace shardlens::ui {

class ConvertMindSporeOptions;
class ConvertQuantizeOption;
class ConvertRulesOption;
class ConvertStrategyPreview;
class ConvertWholeOptions;

// "What goes in?" Each choice with its size and the reason for its default.
class ConvertOptionsStep : public ConvertStep {
    Q_OBJECT
public:
    explicit ConvertOptionsStep(QWidget* parent = nullptr);
    void load(const JobDraft& draft, const StepFacts& facts) override;
    [[nodiscard]] QString summary(const JobDraft& draft, const StepFacts& facts) const override;
    [[nodiscard]] QString obstacle(const JobDraft& draft, const StepFacts& facts) const override;
    [[nodiscard]] ConvertRulesOption* rules() const { return m_rules; }
    [[nodiscard]] ConvertMindSporeOptions* mindSpore() const { return m_mindSpore; }
    [[nodiscard]] ConvertStrategyPreview* preview() const { return m_preview; }
    [[nodiscard]] ConvertQuantizeOption* quantize() const { return m_quantize; }
    [[nodiscard]] QSpinBox* writers() const { return m_writers; } // shows for goals that have a number of them

private:
    struct Content {
        Select select;
        QRadioButton* button;
        OptionRow row;
    };

    void makeContents(OptionGrid& grid);
    void makePrecision(OptionGrid& grid);
    void makeSizes(OptionGrid& grid);
    void makeChecks(OptionGrid& grid);
    void makeMore(OptionGrid& grid);
    void loadContents();
    // Which rows the goal has, and which of them can be changed.
    void loadRows();
    [[nodiscard]] QString noteOf(Select select, const ContentFacts& found) const;
    void loadReasons();
    void loadWriters();
    void loadPatternReasons();
    // The user has touched a control: the draft becomes what the controls say.
    void take();
    void takePicking(JobDraft& draft) const;

    std::array<Content, 4> m_contents{};
    ConvertWholeOptions* m_whole;
    ConvertRulesOption* m_rules;
    ConvertMindSporeOptions* m_mindSpore;
    ConvertStrategyPreview* m_preview;
    ConvertQuantizeOption* m_quantize;
    QComboBox* m_dtype;
    OptionRow m_dtypeRow;
    QComboBox* m_maxShard;
    OptionRow m_maxShardRow;
    QSpinBox* m_writers;
    OptionRow m_writersRow;
    QComboBox* m_memory;
    OptionRow m_memoryRow;
    QSpinBox* m_threads;
    OptionRow m_threadsRow;
    QCheckBox* m_verify;
    QCheckBox* m_overwrite;
    QLineEdit* m_include;
    OptionRow m_includeRow;
    QLineEdit* m_exclude;
    OptionRow m_excludeRow;
    StepFacts m_facts;
    bool m_loading = false;
};

} // namespace shardlens::ui
