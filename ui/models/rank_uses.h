#pragma once

#include "core/model/checkpoint.h"

#include <QString>

#include <cstdint>
#include <memory>
#include <stop_token>
#include <vector>

namespace shardlens::ui {

// Which pieces one rank holds: those whose holder covers it, so that a replica counts for each of its ranks. Where a format names no axes,
// the pieces of the files that the rank wrote. The checkpoint outlives it.
class RankCover {
public:
    RankCover(const Checkpoint& checkpoint, std::uint32_t rank);
    [[nodiscard]] bool holds(const Piece& piece) const;
    // Files that the rank wrote, or that hold a piece of it; by FileId.
    [[nodiscard]] std::vector<bool> files() const;

private:
    const Checkpoint& m_checkpoint;
    std::uint32_t m_rank;
    std::vector<bool> m_holders; // by HolderId; empty: no axes
};

// The coordinates of a rank, one for each axis of the topology.
[[nodiscard]] Holder holderOfRank(const Topology& topology, std::uint32_t rank);

// What one rank holds.
struct RankUse {
    enum class State : std::uint8_t { Complete, Differs, Missing };
    std::vector<std::uint64_t> bytes; // by RoleId; replicas count for each rank
    std::uint64_t total = 0;
    std::vector<FileId> files; // that it wrote, then those that it shares
    std::uint64_t fileBytes = 0;
    State state = State::Complete;
    std::vector<std::size_t> findings; // of those given, which are about it
};

// What every rank of a run holds. Immutable; building is O(pieces + ranks × holders) and meant for a worker.
struct RankUses {
    // NoRanks: neither axes nor files of ranks. TooMany: more ranks than a grid can show.
    enum class Kind : std::uint8_t { Grid, RowOfRanks, NoRanks, TooMany };

    Kind kind = Kind::NoRanks;
    Topology topology;           // with an axis of plain ranks where the format names none
    std::vector<RankUse> ranks;  // by rank
    std::uint64_t most = 0;
    std::uint64_t least = 0;
    double mean = 0;
    std::uint32_t heaviest = 0;  // the first of those that hold most
    std::uint32_t heaviestCount = 0;
    TensorId largest = kNoTensor; // of the heaviest rank
    std::uint64_t largestBytes = 0;

    // How many times the mean a rank holds; 0 where nobody holds anything.
    [[nodiscard]] double shareOf(std::uint32_t rank) const;
    // "dp 1, tp 0"; empty where the format names no axes.
    [[nodiscard]] QString placeOf(std::uint32_t rank) const;

    // nullptr where a stop was requested. `findings` are the document's.
    [[nodiscard]] static std::shared_ptr<const RankUses> build(const CheckpointPtr& checkpoint, const std::vector<Finding>& findings,
                                                               const std::stop_token& stop);
};

using RankUsesPtr = std::shared_ptr<const RankUses>;

constexpr std::uint32_t kMostGridRanks = 65'536;

} // namespace shardlens::ui
