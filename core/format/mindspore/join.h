#pragma once

#include "core/format/mindspore/run.h"

namespace shardlens::mindspore {

// Makes tensors of the entries of all files: by the strategy the slices of one tensor (formats/mindspore.md §4); what no strategy names is the same on every rank
// (§5.7); without a strategy each rank's entries under rank_N/NAME, and of one model under their own names.
// A slice that no file holds is a hole with a finding; shapes that contradict the strategy, and names that a file lost, are Error findings.
Status joinRanks(RankRun& run, JobContext& job);

} // namespace shardlens::mindspore
