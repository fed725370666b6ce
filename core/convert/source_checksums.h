#pragma once

#include "core/base/result.h"
#include "core/convert/plan.h"
#include "core/job/executor.h"
#include "core/job/job_context.h"

namespace shardlens {

// Files that a plan reads and that carry one checksum of all their bytes (MindSpore's, formats/mindspore.md §2.8, §6.1) are read through and compared before anything is
// written. Corrupt, with the file, where one does not agree. Archives keep a checksum for every member; verify compares those.
Status checkSourceChecksums(const Plan& plan, Executor& executor, JobContext& job);

} // namespace shardlens
