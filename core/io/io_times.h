#pragma once

#include <chrono>
#include <cstdint>

namespace shardlens {

// What this thread has spent in reading and writing files so far, in nanoseconds: for who wants to know what limits a piece of work.
struct IoTimes {
    std::uint64_t readNs = 0;
    std::uint64_t writeNs = 0;
};
[[nodiscard]] inline IoTimes& ioTimesOfThread()
{
    thread_local IoTimes times;
    return times;
}

// Adds the time of its life to a counter of this thread.
class ScopedTime {
public:
    explicit ScopedTime(std::uint64_t& counter) : m_counter(counter) {}
    ~ScopedTime() { m_counter += static_cast<std::uint64_t>(std::chrono::duration_cast<std::chrono::nanoseconds>(std::chrono::steady_clock::now() - m_start).count()); }
    ScopedTime(const ScopedTime&) = delete;
    ScopedTime& operator=(const ScopedTime&) = delete;

private:
    std::uint64_t& m_counter;
    std::chrono::steady_clock::time_point m_start = std::chrono::steady_clock::now();
};

} // namespace shardlens
