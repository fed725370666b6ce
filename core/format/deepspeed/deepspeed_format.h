#pragma once

#include "core/format/deepspeed/module_states.h"
#include "core/format/format.h"

#include <memory>

namespace shardlens::deepspeed {

[[nodiscard]] Match probe(const Candidate& candidate);
// The row of universal checkpoints: a tag folder with zero/, a root whose only pointer is `latest_universal`. open() reads both rows.
[[nodiscard]] Match probeUniversal(const Candidate& candidate);
[[nodiscard]] Result<CheckpointPtr> open(const Candidate& candidate, const OpenOptions& options, JobContext& job);

// A run with its pickles still at hand; its builder has every tensor, in the order in which open() numbers them.
struct OpenedRun {
    std::unique_ptr<Run> run;
    ModuleNames names;
};
// One model-parallel rank: of several, each is a run of its own.
[[nodiscard]] Result<OpenedRun> readRun(const Candidate& candidate, const OpenOptions& options, JobContext& job, std::uint32_t mpRank = 0);

} // namespace shardlens::deepspeed
