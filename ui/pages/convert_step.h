#pragma once

#include "core/analysis/scan.h"
#include "ui/models/device_map.h"
#include "ui/pages/convert_draft.h"
#include "ui/pages/convert_outlook.h"

#include <QScrollArea>

class QVBoxLayout;

namespace shardlens::ui {

// What the steps of the convert page show besides the draft. Pointers are nullptr while they are not known yet.
struct StepFacts {
    CheckpointPtr checkpoint; // as it is read by the rules of the draft
    bool isReading = false;   // by other rules: `checkpoint` is still the one of before
    QString rulesProblem;     // a sentence: it cannot be read by them; `checkpoint` is the one of before
    std::shared_ptr<const SourceFacts> source;
    std::shared_ptr<const SourceOutlook> outlook; // what can be taken as a whole, with nothing chosen
    OutlookPtr run; // of a run as the draft wants it; where nothing is chosen or can be, that of `outlook`
    StrategyReading sourceStrategy; // of a MindSpore run; nothing in it while it is being read, and where there is none
    StrategyReading targetStrategy; // that the draft names; likewise
    std::shared_ptr<const ScanReport> scan; // of the pickles; the other checks do not wait for it
};

// One step of the convert page: a title, a line of what it asks, and a body that scrolls. It shows the draft it is given and says when the user changes it.
class ConvertStep : public QScrollArea {
    Q_OBJECT
public:
    ConvertStep(const QString& title, const QString& remark, QWidget* parent = nullptr);

    // Shows the draft; never signals edited().
    virtual void load(const JobDraft& draft, const StepFacts& facts) = 0;
    // What was chosen here, for the list of steps; empty while there is nothing to say.
    [[nodiscard]] virtual QString summary(const JobDraft& draft, const StepFacts& facts) const = 0;
    // Why the next step cannot be taken yet; empty: it can.
    [[nodiscard]] virtual QString obstacle(const JobDraft&, const StepFacts&) const { return {}; }

signals:
    void edited(const shardlens::ui::JobDraft& draft);

protected:
    [[nodiscard]] QVBoxLayout* body() const { return m_body; }
    // The user's change: keeps it and tells the page.
    void change(const JobDraft& draft);
    [[nodiscard]] const JobDraft& draft() const { return m_draft; }
    void keep(const JobDraft& draft) { m_draft = draft; }

private:
    void applyTheme();

    QVBoxLayout* m_body;
    JobDraft m_draft;
};

} // namespace shardlens::ui
