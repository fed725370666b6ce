#pragma once

#include "core/base/result.h"

#include <atomic>
#include <cstdint>
#include <mutex>
#include <stop_token>
#include <string>
#include <vector>

namespace shardlens {

// Counters that engine code writes and whoever watches reads at its own pace. All in bytes but `done` and `total`, whose unit the job names.
struct Progress {
    std::atomic<std::uint64_t> done{0};
    std::atomic<std::uint64_t> total{0}; // 0: not known yet
    std::atomic<std::uint64_t> bytesRead{0};
    std::atomic<std::uint64_t> bytesWritten{0};
    std::atomic<std::uint64_t> readNs{0};    // of all threads together: in files …
    std::atomic<std::uint64_t> computeNs{0}; // … between them …
    std::atomic<std::uint64_t> writeNs{0};   // … and in those that are written
    std::atomic<std::uint32_t> phase{0}; // index into the job's own list of phases
};

// What a piece of engine work is given: when to stop, where to count, where to leave remarks. It never calls back.
// Safe to use from several threads at once. Must outlive the work.
class JobContext {
public:
    JobContext() = default;
    explicit JobContext(std::stop_token stop) : m_stop(std::move(stop)) {}
    JobContext(const JobContext&) = delete;
    JobContext& operator=(const JobContext&) = delete;

    // Cancelled where somebody asked to stop. Call once a tensor and every 8 MiB.
    [[nodiscard]] Status poll() const;
    [[nodiscard]] bool stopRequested() const { return m_stop.stop_requested(); }
    [[nodiscard]] const std::stop_token& stopToken() const { return m_stop; }
    void advance(std::uint64_t count) { m_progress.done.fetch_add(count, std::memory_order_relaxed); }
    void setTotal(std::uint64_t total) { m_progress.total.store(total, std::memory_order_relaxed); }
    void warn(std::string sentence);

    [[nodiscard]] Progress& progress() { return m_progress; }
    [[nodiscard]] const Progress& progress() const { return m_progress; }
    [[nodiscard]] std::vector<std::string> warnings() const;

private:
    std::stop_token m_stop;
    Progress m_progress;
    mutable std::mutex m_mutex;
    std::vector<std::string> m_warnings;
};

} // namespace shardlens
