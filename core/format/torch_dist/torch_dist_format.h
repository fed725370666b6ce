#pragma once

#include "core/format/format.h"

namespace shardlens::torch_dist {

// Megatron-core's distributed checkpoints (formats/megatron.md §6): an iteration's folder of .metadata, *.distcp and metadata.json, or a root of them.
[[nodiscard]] Match probe(const Candidate& candidate);
[[nodiscard]] Result<CheckpointPtr> open(const Candidate& candidate, const OpenOptions& options, JobContext& job);

} // namespace shardlens::torch_dist
