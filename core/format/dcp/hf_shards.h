#pragma once

#include "core/format/format.h"

namespace shardlens::dcp {

// Safetensors files of single ranks, as torch's HuggingFaceStorageWriter(save_distributed=True) names them: shard-00002-model-00001-of-00003.safetensors, each
// with the offsets of its tensors in __metadata__ (formats/pytorch.md §9.9).
[[nodiscard]] Match matchShardFiles(const Candidate& candidate);
[[nodiscard]] Result<CheckpointPtr> openShardFiles(const Candidate& candidate, JobContext& job);

} // namespace shardlens::dcp
