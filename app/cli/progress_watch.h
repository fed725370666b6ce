#pragma once

#include "app/cli/console.h"
#include "app/cli/progress.h"
#include "app/cli/progress_events.h"

#include <condition_variable>
#include <mutex>
#include <stop_token>
#include <string>
#include <thread>

namespace shardlens::cli {

// Shows a job's counters ten times a second from a thread of its own while it lives: a bar that it removes at the end, or events. All must outlive it.
class ProgressWatch {
public:
    // `events` may be nullptr; a bar is drawn only without them.
    // `label`: what the bar is called where the job has no phases.
    ProgressWatch(const JobContext& job, Console& console, EventStream* events, bool bar, std::string label = {});
    ~ProgressWatch();
    ProgressWatch(const ProgressWatch&) = delete;
    ProgressWatch& operator=(const ProgressWatch&) = delete;

private:
    void watch(const std::stop_token& stop);
    void showEvent(const ProgressSample& sample);
    void showBar(const ProgressSample& sample);
    void removeBar();

    const JobContext& m_job;
    Console& m_console;
    EventStream* m_events;
    bool m_bar;
    std::string m_label;
    bool m_drawn = false;
    RateMeter m_rate;
    std::uint32_t m_phase = 0;
    std::mutex m_mutex;
    std::condition_variable_any m_wake;
    std::jthread m_thread; // last: it uses the others
};

} // namespace shardlens::cli
