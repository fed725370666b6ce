#pragma once

#include "app/cli/json_answer.h"

#include <mutex>
#include <string>

namespace shardlens::cli {

// JSON lines for another program (DESIGN.md §3). A reader that is slow or gone never holds the job up: lines are left out, whole. Safe from several threads.
class EventStream {
public:
    // Writes to the open descriptor, which it does not close.
    explicit EventStream(int descriptor);
    ~EventStream();
    EventStream(const EventStream&) = delete;
    EventStream& operator=(const EventStream&) = delete;

    // True where the line was taken; false where it was left out, because the reader has not yet read what came before.
    bool offer(const Json& event);
    // For the last line: waits until the reader has taken it or is gone.
    void finish(const Json& event);

private:
    // Writes what it can without waiting.
    void drain();

    int m_descriptor;
    bool m_owned = false;
    bool m_gone = false;
    std::mutex m_mutex;
    std::string m_pending; // the rest of a line that was begun
};

} // namespace shardlens::cli
