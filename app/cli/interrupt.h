#pragma once

#include <stop_token>
#include <thread>

namespace shardlens::cli {

// Turns the first SIGINT, SIGTERM or SIGHUP into a stop request; a second one, at least 0.7 s later, ends the process as the system would.
// Signals that are ignored already stay so.
// Make it before any other thread: it blocks those signals in its thread, and later threads inherit that.
class InterruptWatch {
public:
    InterruptWatch();
    ~InterruptWatch();
    InterruptWatch(const InterruptWatch&) = delete;
    InterruptWatch& operator=(const InterruptWatch&) = delete;

    [[nodiscard]] std::stop_token token() const { return m_stop.get_token(); }

private:
    std::stop_source m_stop;
    std::thread m_thread;
};

} // namespace shardlens::cli
