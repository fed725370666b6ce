#pragma once

#include "core/base/result.h"
#include "core/convert/plan.h"
#include "core/io/staged_output.h"
#include "core/job/job_context.h"

namespace shardlens {

// Refused where a file of the source is no longer what the plan was made from: gone, or of another size or time.
[[nodiscard]] Status checkSourceUnchanged(const Checkpoint& source);
// Looks once more at source, target and the sizes of what was written, then gives the result its name.
[[nodiscard]] Status publishResult(const Plan& plan, StagedOutput& staged, JobContext& job);

} // namespace shardlens
