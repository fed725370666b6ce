#pragma once

#include "core/format/format.h"
#include "core/format/target.h"

namespace shardlens::mindspore {

// MindSpore's checkpoints (formats/mindspore.md): one file, rank folders with or without a strategy, a unified folder.
[[nodiscard]] Match probe(const Candidate& candidate);
[[nodiscard]] Result<CheckpointPtr> open(const Candidate& candidate, const OpenOptions& options, JobContext& job);
// Rank folders of the strategy that the options name, or one file where they name none, from a source of any format.
[[nodiscard]] Result<Target> layOut(const CheckpointPtr& source, const TargetOptions& options, JobContext& job);

} // namespace shardlens::mindspore
