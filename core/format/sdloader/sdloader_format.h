#pragma once

#include "core/format/format.h"

namespace shardlens::sdloader {

// The JSON of SDLoaderFactory.get_sd_loader_json, or a folder with one such list (formats/deepspeed.md §16).
[[nodiscard]] Match probe(const Candidate& candidate);
[[nodiscard]] Result<CheckpointPtr> open(const Candidate& candidate, const OpenOptions& options, JobContext& job);
// Format::layOut: options.tp rank files and a list of them, as MegatronSDLoader would load each; options.rank alone, without the list.
[[nodiscard]] Result<Target> layOut(const CheckpointPtr& source, const TargetOptions& options, JobContext& job);

} // namespace shardlens::sdloader
