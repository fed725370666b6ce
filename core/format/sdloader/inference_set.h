#pragma once

#include "core/format/format.h"
#include "core/format/sdloader/list_file.h"

namespace shardlens::sdloader {

// A checkpoint that DeepSpeed's inference engine saved or loads (formats/deepspeed.md §18): the parts of every tensor-parallel rank joined by rules, and the
// files that all ranks load. Refused: a number of files that mp_size does not divide, int8 weights, whose scales are a rank's own.
[[nodiscard]] Result<CheckpointPtr> openInferenceSet(const Candidate& candidate, const ListFile& file, const OpenOptions& options, JobContext& job);

} // namespace shardlens::sdloader
