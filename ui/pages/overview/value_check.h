#pragma once

#include "core/analysis/verify.h"
#include "ui/models/runner.h"

#include <QTimer>
#include <QWidget>

#include <memory>

namespace shardlens::ui {

class Link;
class TextLabel;

// Offers to read all values and check them (what `shardlens verify` does), shows how far it is, and can be called off.
class ValueCheck : public QWidget {
    Q_OBJECT
public:
    explicit ValueCheck(QWidget* parent = nullptr);
    // What is to be checked, and how many bytes that reads. Stops a check that runs.
    void show(const CheckpointPtr& checkpoint, std::uint64_t bytes);
    [[nodiscard]] bool isRunning() const { return m_runner.isRunning(); }
    void start();
    void cancel();

signals:
    void done(const std::shared_ptr<const shardlens::VerifyReport>& report);

private:

    void showIdle();
    void showProgress();
    void finish(const Result<VerifyReport>& report);

    CheckpointPtr m_checkpoint;
    std::uint64_t m_bytes = 0;
    TextLabel* m_text;
    Link* m_action;
    QTimer m_poll;
    Runner m_runner;
    std::shared_ptr<JobContext> m_job;
};

} // namespace shardlens::ui
