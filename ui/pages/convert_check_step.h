#pragma once

#include "ui/pages/convert_step.h"

class QPushButton;

namespace shardlens::ui {

// "Is the source whole?" One line for each check, with what it found.
class ConvertCheckStep : public ConvertStep {
    Q_OBJECT
public:
    explicit ConvertCheckStep(QWidget* parent = nullptr);
    void load(const JobDraft& draft, const StepFacts& facts) override;
    [[nodiscard]] QString summary(const JobDraft& draft, const StepFacts& facts) const override;
    [[nodiscard]] QString obstacle(const JobDraft& draft, const StepFacts& facts) const override;

signals:
    void checkAgain();

private:
    enum class Verdict { Pending, Good, Note, Bad };

    void addLine(Verdict verdict, const QString& sentence);
    void addCompleteness(const JobDraft& draft, const SourceFacts& source);
    void addLayout(const SourceOutlook* outlook);
    void addRun(const SourceOutlook* outlook, bool mayChange);
    void addFiles(const Checkpoint& checkpoint, const SourceFacts& source);
    void addPickles(const SourceFacts& source, const ScanReport* scan);
    void addLeftOut(const JobDraft& draft, const StepFacts& facts);
    void addVerdict(const ScanReport& scan);
    void addFindings(const Checkpoint& checkpoint);

    QWidget* m_lines = nullptr;
    QVBoxLayout* m_place;
    QPushButton* m_moduleOnly;
};

} // namespace shardlens::ui
