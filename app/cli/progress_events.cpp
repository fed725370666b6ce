#include "app/cli/progress_events.h"

#include <cerrno>
#include <fcntl.h>
#include <poll.h>
#include <string>
#include <sys/stat.h>
#include <unistd.h>

namespace shardlens::cli {
namespace {

// A pipe opened a second time: not to block is a property of this opening, and the first one may be shared with other programs.
int reopenedPipe(int descriptor)
{
    struct stat facts {};
    if (::fstat(descriptor, &facts) != 0 || !S_ISFIFO(facts.st_mode))
        return -1;
    return ::open(("/proc/self/fd/" + std::to_string(descriptor)).c_str(), O_WRONLY | O_NONBLOCK | O_CLOEXEC);
}

bool isWritable(int descriptor, int waitMs)
{
    pollfd one{descriptor, POLLOUT, 0};
    return ::poll(&one, 1, waitMs) > 0;
}

std::string lineOf(const Json& event)
{
    return event.dump(-1, ' ', false, Json::error_handler_t::replace) + "\n";
}

} // namespace

EventStream::EventStream(int descriptor) : m_descriptor(descriptor)
{
    if (const int own = reopenedPipe(descriptor); own >= 0) {
        m_descriptor = own;
        m_owned = true;
    }
}

EventStream::~EventStream()
{
    if (m_owned)
        ::close(m_descriptor);
}

void EventStream::drain()
{
    while (!m_pending.empty() && !m_gone && isWritable(m_descriptor, 0)) {
        const ssize_t count = ::write(m_descriptor, m_pending.data(), m_pending.size());
        if (count >= 0)
            m_pending.erase(0, static_cast<std::size_t>(count));
        else if (errno == EAGAIN)
            return;
        else if (errno != EINTR)
            m_gone = true;
    }
}

bool EventStream::offer(const Json& event)
{
    const std::lock_guard lock(m_mutex);
    drain();
    if (!m_pending.empty() || m_gone)
        return false;
    m_pending = lineOf(event);
    drain();
    return true;
}

void EventStream::finish(const Json& event)
{
    const std::lock_guard lock(m_mutex);
    m_pending += lineOf(event);
    while (!m_pending.empty() && !m_gone) {
        drain();
        if (!m_pending.empty() && !m_gone)
            isWritable(m_descriptor, -1);
    }
}

} // namespace shardlens::cli
