#pragma once

#include "core/base/result.h"
#include "core/convert/plan.h"
#include "core/format/target.h"
#include "core/job/job_context.h"

namespace shardlens {

// Puts a target that a format has laid out into the plan: files with a place for every run, lines, results, bytes to read. Refused: a run of a tensor
// with a hole, an error among the findings of the source.
[[nodiscard]] Status planTarget(Target target, Plan& plan, JobContext& job);

} // namespace shardlens
