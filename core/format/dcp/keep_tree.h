#pragma once

#include "core/format/target.h"

#include <optional>

namespace shardlens::dcp {

// The saved state of a directory as one torch file: what torch's own dcp_to_torch_save makes. Nothing where the source is no directory of items.
[[nodiscard]] Result<std::optional<Target>> keepTree(const CheckpointPtr& source, const TargetOptions& options, JobContext& job);

} // namespace shardlens::dcp
