#pragma once

#include "core/format/format.h"

namespace shardlens::torch {

[[nodiscard]] Match probe(const Candidate& candidate);
[[nodiscard]] Result<CheckpointPtr> open(const Candidate& candidate, const OpenOptions& options, JobContext& job);
// Format::keepTree: one torch file with all that it holds. Storages are copied whole, so views keep sharing them; a folder of shards has no tree.
[[nodiscard]] Result<std::optional<Target>> keepTree(const CheckpointPtr& source, const TargetOptions& options, JobContext& job);

} // namespace shardlens::torch
