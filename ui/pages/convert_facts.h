#pragma once

#include "core/format/target.h"
#include "ui/models/runner.h"
#include "ui/pages/convert_step.h"

#include <QObject>

#include <optional>
#include <string>

namespace shardlens::ui {

// What the steps show of the source, found out on workers one after the other.
class ConvertFacts : public QObject {
    Q_OBJECT
public:
    explicit ConvertFacts(QObject* parent = nullptr) : QObject(parent) {}

    // Forgets what it knew; rules that were chosen hold for the new one too. `options`: what it was opened with. nullptr: nothing is open.
    void lookAt(const CheckpointPtr& checkpoint, const OpenOptions& options);
    // Opens the source anew, by these rules. What is known stays until that is done, and where it fails.
    void readBy(const std::optional<std::string>& rules);
    // The run that the draft asks for; the answer is in now().run when known() tells. `files`: the id of the format whose files are asked for instead (filesOutlook).
    void lookAtRun(const TargetOptions& options, const std::string& files);
    // The strategy of the target; nothing: none. The answer is in now().targetStrategy when known() tells.
    void lookAtStrategy(const std::optional<std::string>& path);
    void setScan(std::shared_ptr<const ScanReport> scan) { m_facts.scan = std::move(scan); }
    [[nodiscard]] const StepFacts& now() const { return m_facts; }

signals:
    void known(); // something more is

private:
    void open();
    void adopt(const CheckpointPtr& checkpoint);
    void refuse(const QString& why);
    void readSourceStrategy();

    StepFacts m_facts;
    CheckpointPtr m_asOpened;          // in the tab, by the rules that its format chooses
    std::optional<std::string> m_rules;
    OpenOptions m_openOptions;         // of m_asOpened
    std::optional<std::string> m_targetStrategy; // that is read
    TargetOptions m_options; // of the run
    std::string m_filesAsked; // of which format, instead
    Runner m_sourceStrategyRun;
    Runner m_targetStrategyRun;
    Runner m_open;
    Runner m_source;
    Runner m_outlook;
    Runner m_run;
};

} // namespace shardlens::ui
