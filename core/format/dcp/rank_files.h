#pragma once

#include "core/format/format.h"

namespace shardlens::dcp {

// One torch.save file a rank with ShardedTensor or DTensor objects in it (formats/pytorch.md §5): pytorch_model_fsdp_0_rank3.bin, and any other series of names
// that differ in the number behind "rank".
[[nodiscard]] Match matchRankFiles(const Candidate& candidate);
[[nodiscard]] Result<CheckpointPtr> openRankFiles(const Candidate& candidate, JobContext& job);

} // namespace shardlens::dcp
