#include "core/encoding/recent_sources.h"

#include <utility>

namespace shardlens {

std::shared_ptr<const ByteSource> RecentSources::find(StreamId id)
{
    const auto at = m_byId.find(id);
    if (at == m_byId.end())
        return nullptr;
    m_kept.splice(m_kept.end(), m_kept, at->second);
    return at->second->source;
}

std::shared_ptr<const ByteSource> RecentSources::add(StreamId id, std::shared_ptr<const ByteSource> source, std::uint64_t cost)
{
    if (auto known = find(id))
        return known;
    while (!m_kept.empty() && (m_cost >= m_mostCost || cost > m_mostCost - m_cost)) {
        m_cost -= m_kept.front().cost;
        m_byId.erase(m_kept.front().id);
        m_kept.pop_front();
    }
    m_cost += cost;
    m_kept.push_back({id, std::move(source), cost});
    m_byId.emplace(id, std::prev(m_kept.end()));
    return m_kept.back().source;
}

} // namespace shardlens
