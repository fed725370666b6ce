#pragma once

#include "core/analysis/diff.h"
#include "ui/models/compare_model.h"
#include "ui/models/runner.h"

#include <QObject>
#include <QTimer>

#include <atomic>
#include <memory>

namespace shardlens::ui {

// What is compared with the document's checkpoint, as the fields of the page say it.
struct CompareRequest {
    QString path; // of B
    Select select = Select::Weights;
    QString renames; // "FROM=TO", one a line or after a semicolon
    Tolerance tolerance;
    bool ignoreDtype = false;
};

// Opens B and compares in the background. One comparison at a time: starting again drops the one before.
class CompareRun : public QObject {
    Q_OBJECT
public:
    explicit CompareRun(QObject* parent = nullptr);

    void start(const CheckpointPtr& a, const CompareRequest& request);
    void cancel();
    [[nodiscard]] bool isRunning() const { return m_runner.isRunning(); }

signals:
    // 0 of 0 while B is being opened. Bytes of both.
    void progressed(std::uint64_t done, std::uint64_t total);
    void finished(const std::shared_ptr<const shardlens::ui::CompareResult>& result);
    void failed(const QString& sentence);

private:
    using JobSlot = std::atomic<std::shared_ptr<JobContext>>;

    void showProgress();

    Runner m_runner;
    QTimer m_poll;
    std::shared_ptr<JobSlot> m_job; // filled by the worker, which alone knows the stop token
};

} // namespace shardlens::ui
