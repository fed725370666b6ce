#pragma once

#include "core/base/result.h"
#include "core/format/colossalai/model_order.h"
#include "core/format/format.h"
#include "core/layout/rule_set.h"
#include "core/model/checkpoint_builder.h"

#include <string>

namespace shardlens::colossalai {

// Whether a folder holds metadata of a distributed checkpoint (family A).
[[nodiscard]] bool hasDistMeta(const Candidate& folder);

// Reads the distributed model checkpoint of a folder into a builder; `prefix` is put before the names of files ("modeling/"). What is missing or does not
// fit is a finding; refused is only what leaves no model: no metadata that can be read.
[[nodiscard]] Result<ModelOrder> readDistModel(CheckpointBuilder& builder, const Candidate& folder, const std::string& prefix, const RuleSet& rules, JobContext& job);

} // namespace shardlens::colossalai
