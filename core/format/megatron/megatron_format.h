#pragma once

#include "core/format/format.h"

namespace shardlens::megatron {

// A root with latest_checkpointed_iteration.txt, or an iteration's folder of mp_rank_TT[_PPP][_EEE]/model_optim_rng.pt (formats/megatron.md §2, §4).
[[nodiscard]] Match probe(const Candidate& candidate);
[[nodiscard]] Result<CheckpointPtr> open(const Candidate& candidate, const OpenOptions& options, JobContext& job);
// Format::layOut: the rank files of options.tp x options.pp x options.ep, with the tracker file (§10.2). The model and what lies beside it; no optimizer.
[[nodiscard]] Result<Target> layOut(const CheckpointPtr& source, const TargetOptions& options, JobContext& job);

} // namespace shardlens::megatron
