#pragma once

#include "core/convert/plan.h"
#include "ui/models/runner.h"
#include "ui/widgets/plan_picture_model.h"

#include <QObject>
#include <QString>

#include <cstdint>
#include <memory>
#include <optional>

namespace shardlens::ui {

// What planning found out about one request. A value from a worker.
struct PlannedJob {
    ConvertRequest request;           // as asked
    std::shared_ptr<const Plan> plan; // nullptr where the request cannot be met; there may be one beside a refusal that is about the target only
    PlanPictureModelPtr picture;
    QString refusal;                  // a sentence; empty: it can start
    bool targetExists = false;        // the refusal is that
    std::optional<std::uint64_t> freeBytes;
    QString disk;                     // where the target's disk is mounted

    [[nodiscard]] bool canStart() const { return plan != nullptr && refusal.isEmpty(); }
};

// Plans on a worker; only the latest request counts.
class ConvertPlanner : public QObject {
    Q_OBJECT
public:
    explicit ConvertPlanner(QObject* parent = nullptr) : QObject(parent) {}

    void start(CheckpointPtr source, const ConvertRequest& request);
    void cancel() { m_runner.cancel(); }
    [[nodiscard]] bool isRunning() const { return m_runner.isRunning(); }

signals:
    void planned(const std::shared_ptr<const shardlens::ui::PlannedJob>& job);

private:
    Runner m_runner;
};

// The work itself: looks at the target's disk and plans; writes nothing.
[[nodiscard]] PlannedJob planJob(const CheckpointPtr& source, const ConvertRequest& request, const std::stop_token& stop);

} // namespace shardlens::ui
