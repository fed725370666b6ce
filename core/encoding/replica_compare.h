#pragma once

#include "core/encoding/tensor_reader.h"
#include "core/job/job_context.h"

#include <cstdint>
#include <optional>
#include <string>

namespace shardlens {

// Two pieces that should hold the same values and do not.
struct ReplicaDifference {
    PieceId first;
    PieceId second;
    std::uint64_t element = 0; // the first, in row-major order
};

// Reads all copies of a tensor that several pieces hold. Nothing where they are equal, byte by byte. Of a mean the copies of each rank are
// compared, not the ranks.
[[nodiscard]] Result<std::optional<ReplicaDifference>> replicaDifference(const StreamSet& streams, TensorId tensor, JobContext& job);
// "NAME: FILE and FILE should hold the same values and differ, first at element 3."
[[nodiscard]] std::string differenceText(const Checkpoint& checkpoint, TensorId tensor, const ReplicaDifference& difference);

} // namespace shardlens
