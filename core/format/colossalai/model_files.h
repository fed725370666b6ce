#pragma once

#include "core/base/result.h"
#include "core/format/colossalai/model_order.h"
#include "core/format/format.h"
#include "core/layout/rule_set.h"
#include "core/model/checkpoint_builder.h"

#include <string>

namespace shardlens::colossalai {

// Reads the full tensors of a folder into a builder: by an index (family B), of an interrupted save, or of one file (family C). `prefix` is put before names of files,
// `index` names the index where one was chosen. Missing files and names are findings. Refused: nothing that is a model, or several things.
[[nodiscard]] Result<ModelOrder> readModelFiles(CheckpointBuilder& builder, const Candidate& folder, const std::string& prefix, const std::string& index, const RuleSet& rules,
                                                JobContext& job);

// Findings that every folder with an index may need: what an interrupted save left, what an index does not name, files that are not there.
struct ShardIndex;
void sayAboutIndex(CheckpointBuilder& builder, const Candidate& folder, const std::string& prefix, const ShardIndex& index, const char* what);

} // namespace shardlens::colossalai
