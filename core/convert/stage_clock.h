#pragma once

#include "core/io/io_times.h"
#include "core/job/job_context.h"

#include <algorithm>

namespace shardlens {

// Counts the time of its life as read, computed and written: what this thread did not spend in files was arithmetic. One at a time on a thread.
class StageClock {
public:
    explicit StageClock(Progress& progress) : m_progress(progress), m_before(ioTimesOfThread()) {}
    ~StageClock()
    {
        const auto all = static_cast<std::uint64_t>(std::chrono::duration_cast<std::chrono::nanoseconds>(std::chrono::steady_clock::now() - m_start).count());
        const std::uint64_t read = ioTimesOfThread().readNs - m_before.readNs;
        const std::uint64_t written = ioTimesOfThread().writeNs - m_before.writeNs;
        m_progress.readNs.fetch_add(read, std::memory_order_relaxed);
        m_progress.writeNs.fetch_add(written, std::memory_order_relaxed);
        m_progress.computeNs.fetch_add(all - std::min(all, read + written), std::memory_order_relaxed);
    }
    StageClock(const StageClock&) = delete;
    StageClock& operator=(const StageClock&) = delete;

private:
    Progress& m_progress;
    IoTimes m_before;
    std::chrono::steady_clock::time_point m_start = std::chrono::steady_clock::now();
};

} // namespace shardlens
