#pragma once

#include "core/format/deepspeed/run.h"
#include "core/job/job_context.h"

namespace shardlens::deepspeed {

// Opens every file of the tag folder, decides the number of ranks W, and says what is missing, unreadable, left over from a larger run,
// or written much later than the rest (formats/deepspeed.md §1.3, §1.4). Fails only where nothing can be shown: no model file for stages 0 to 2.
Status openRankFiles(Run& run, JobContext& job);

// A file of the tag folder. One that cannot be opened is a finding, and its pieces are holes.
[[nodiscard]] RankFile openRankFile(Run& run, const std::string& name, std::optional<std::uint32_t> rank);
// The row of a file that should be there; the caller says so.
[[nodiscard]] RankFile missingRankFile(Run& run, const std::string& name, std::optional<std::uint32_t> rank);
// The row and the finding of a file that is no part of this run: "NAME: WHY. It is not read."
void addLeftover(Run& run, const std::string& name, std::optional<std::uint32_t> rank, const std::string& why);

} // namespace shardlens::deepspeed
