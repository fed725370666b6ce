#pragma once

#include "core/format/format.h"

namespace shardlens::deepspeed {

[[nodiscard]] Match probe(const Candidate& candidate);
[[nodiscard]] Result<CheckpointPtr> open(const Candidate& candidate, const OpenOptions& options, JobContext& job);

} // namespace shardlens::deepspeed
