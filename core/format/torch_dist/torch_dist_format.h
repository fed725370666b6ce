#pragma once

#include "core/format/format.h"

namespace shardlens::torch_dist {

// Megatron-core's distributed checkpoints (formats/megatron.md §6): an iteration's folder of .metadata, *.distcp and metadata.json, or a root of them.
[[nodiscard]] Match probe(const Candidate& candidate);
[[nodiscard]] Result<CheckpointPtr> open(const Candidate& candidate, const OpenOptions& options, JobContext& job);

// Format::layOut: a root with one iteration, of a model with megatron-core's names: another such checkpoint, Megatron-LM's rank files, or any that has the
// names. Global tensors, which any number of ranks loads; options.dp is the number of writers.
[[nodiscard]] Result<Target> layOut(const CheckpointPtr& source, const TargetOptions& options, JobContext& job);

} // namespace shardlens::torch_dist
