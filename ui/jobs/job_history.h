#pragma once

#include "ui/jobs/job.h"

#include <QSettings>

#include <memory>
#include <vector>

namespace shardlens::ui {

// Finished jobs in the settings: at most kMost, newest first. What cannot be read is passed over.
class JobHistory {
public:
    static constexpr int kMost = 50;
    static constexpr qsizetype kLargestEntry = 64 << 10; // bytes; a report with more keeps its outcome and loses its lines

    // `settings` outlives the history; nullptr: nothing is kept.
    explicit JobHistory(QSettings* settings) : m_settings(settings) {}

    [[nodiscard]] std::vector<std::unique_ptr<Job>> load() const;
    void save(const std::vector<const Job*>& finished);

private:
    QSettings* m_settings;
};

} // namespace shardlens::ui
