#pragma once

#include "core/format/format.h"

namespace shardlens::colossalai {

// Checkpoints of ColossalAI (formats/colossalai.md): distributed model checkpoints of pull request 6181, sharded models and optimizers of its plugins, and
// training directories that hold both.
[[nodiscard]] Match probe(const Candidate& candidate);
[[nodiscard]] Result<CheckpointPtr> open(const Candidate& candidate, const OpenOptions& options, JobContext& job);
// A distributed model checkpoint of other sizes; with optimizer states a training directory.
[[nodiscard]] Result<Target> layOut(const CheckpointPtr& source, const TargetOptions& options, JobContext& job);

} // namespace shardlens::colossalai
