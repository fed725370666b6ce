#pragma once

#include "core/base/ids.h"
#include "core/io/byte_source.h"

#include <cstdint>
#include <list>
#include <memory>
#include <unordered_map>

namespace shardlens {

// Sources kept open up to a total cost; those asked for longest ago go first. The newest stays whatever it costs, and whoever reads from one that
// went keeps it alive. Not safe from several threads.
class RecentSources {
public:
    explicit RecentSources(std::uint64_t mostCost) : m_mostCost(mostCost) {}

    // nullptr where it is not kept.
    [[nodiscard]] std::shared_ptr<const ByteSource> find(StreamId id);
    // What is kept under this id: `source`, or the one that was there before.
    std::shared_ptr<const ByteSource> add(StreamId id, std::shared_ptr<const ByteSource> source, std::uint64_t cost);

private:
    struct Kept {
        StreamId id;
        std::shared_ptr<const ByteSource> source;
        std::uint64_t cost;
    };

    std::uint64_t m_mostCost;
    std::uint64_t m_cost = 0;
    std::list<Kept> m_kept; // asked for longest ago first
    std::unordered_map<StreamId, std::list<Kept>::iterator> m_byId;
};

} // namespace shardlens
