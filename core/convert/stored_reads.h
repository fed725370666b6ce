#pragma once

#include "core/convert/plan.h"
#include "core/encoding/tensor_reader.h"

#include <cstdint>
#include <memory>
#include <set>
#include <utility>
#include <vector>

namespace shardlens {

// The computations that a computation reads.
[[nodiscard]] std::set<const Computation*> computationsBelow(const Computation& computation);

// What reading tensors needs beside their bytes: computations, and compressed members, which are decoded whole and kept, be it under a computation.
class StoredReads {
public:
    // The pieces that the reader takes. True where one of them is computed.
    bool add(const Checkpoint& checkpoint, const TensorReader& reader);
    // Stored bytes that the computations read, each once.
    [[nodiscard]] std::uint64_t computedBytes() const { return m_computedBytes; }
    void finish(Plan& plan) const;

private:
    bool addStream(const Checkpoint& checkpoint, StreamId id, bool isBelow);

    std::set<const Computation*> m_known;
    std::vector<std::shared_ptr<const Computation>> m_computations;
    std::set<std::pair<const Checkpoint*, StreamId>> m_deflated;
    std::uint64_t m_computedBytes = 0;
    std::uint64_t m_decodedBytes = 0;
    std::uint64_t m_largestPacked = 0;
};

} // namespace shardlens
