#pragma once

#include "core/base/result.h"
#include "core/convert/plan.h"
#include "core/job/executor.h"
#include "core/job/job_context.h"

#include <string>

namespace shardlens {

// Bytes of a tensor's values in the output's dtype.
[[nodiscard]] std::uint64_t resultBytes(const Plan& plan, const PlannedResult& result);

// Opens what was written through the table of formats and compares every tensor with the source, cast the same way: names, dtypes, shapes and bytes.
// Returns the bytes read; a difference is Corrupt with tensor and offset. Advances the job by the bytes of the tensors.
[[nodiscard]] Result<std::uint64_t> verifyResult(const Plan& plan, const std::string& resultPath, Executor& executor, JobContext& job);

} // namespace shardlens
