#include "core/job/job_context.h"

namespace shardlens {

Status JobContext::poll() const
{
    if (m_stop.stop_requested())
        return Error{ErrorCode::Cancelled, "cancelled"};
    return {};
}

void JobContext::warn(std::string sentence)
{
    const std::lock_guard lock(m_mutex);
    m_warnings.push_back(std::move(sentence));
}

std::vector<std::string> JobContext::warnings() const
{
    const std::lock_guard lock(m_mutex);
    return m_warnings;
}

} // namespace shardlens
