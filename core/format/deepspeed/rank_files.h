#pragma once

#include "core/format/deepspeed/run.h"
#include "core/job/job_context.h"

namespace shardlens::deepspeed {

// Opens every file of the tag folder, decides the number of ranks W, and says what is missing, unreadable, left over from a larger run,
// or written much later than the rest (formats/deepspeed.md §1.3, §1.4). Fails only where nothing can be shown: no model file for stages 0 to 2.
Status openRankFiles(Run& run, JobContext& job);

} // namespace shardlens::deepspeed
