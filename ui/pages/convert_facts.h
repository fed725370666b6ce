#pragma once

#include "core/format/target.h"
#include "ui/models/runner.h"
#include "ui/pages/convert_step.h"

#include <QObject>

namespace shardlens::ui {

// What the steps show of the source, found out on workers one after the other.
class ConvertFacts : public QObject {
    Q_OBJECT
public:
    explicit ConvertFacts(QObject* parent = nullptr) : QObject(parent) {}

    // Forgets what it knew. nullptr: nothing is open.
    void lookAt(const CheckpointPtr& checkpoint);
    // The run that the draft asks for; the answer is in now().run when known() tells.
    void lookAtRun(const TargetOptions& options);
    void setScan(std::shared_ptr<const ScanReport> scan) { m_facts.scan = std::move(scan); }
    [[nodiscard]] const StepFacts& now() const { return m_facts; }

signals:
    void known(); // something more is

private:
    StepFacts m_facts;
    TargetOptions m_options; // of the run
    Runner m_source;
    Runner m_outlook;
    Runner m_run;
};

} // namespace shardlens::ui
