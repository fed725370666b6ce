#pragma once

#include "core/base/result.h"
#include "core/job/executor.h"
#include "core/job/job_context.h"
#include "core/model/checkpoint.h"

#include <cstdint>
#include <vector>

namespace shardlens {

// Bytes of the files whose sha256 the checkpoint says.
[[nodiscard]] std::uint64_t summedBytes(const Checkpoint& checkpoint);
// A warning "sha256" for each of them that has another. Advances the job by summedBytes() and counts what it reads. Files that cannot be read are left out:
// reading their tensors says so.
[[nodiscard]] Result<std::vector<Finding>> checkFileSums(const Checkpoint& checkpoint, Executor& executor, JobContext& job);

} // namespace shardlens
