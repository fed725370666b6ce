#pragma once

#include "core/format/format.h"

namespace shardlens::dcp {

// Directories of torch.distributed.checkpoint (formats/pytorch.md §9): .metadata with .distcp files, a .metadata of each rank, accelerate's folder of two of
// them, safetensors shards with DCP_SHARDING_INFO, and rank files with ShardedTensor or DTensor objects (§5).
[[nodiscard]] Match probe(const Candidate& candidate);
[[nodiscard]] Result<CheckpointPtr> open(const Candidate& candidate, const OpenOptions& options, JobContext& job);

} // namespace shardlens::dcp
