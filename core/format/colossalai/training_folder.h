#pragma once

#include "core/base/result.h"
#include "core/format/format.h"
#include "core/layout/rule_set.h"
#include "core/model/checkpoint_builder.h"

#include <optional>
#include <string>
#include <vector>

namespace shardlens::colossalai {

constexpr const char* kModelFolder = "modeling";
constexpr const char* kOptimizerFolder = "optimizer";
constexpr const char* kSchedulerFile = "lr_scheduler";
constexpr const char* kStatesFile = "running_states.json";

// A folder as the example applications write it (formats/colossalai.md §6.5): modeling/ with a model, beside it optimizer/, lr_scheduler and running_states.json
// as far as they were saved.
[[nodiscard]] bool isTrainingFolder(const Candidate& folder);
// Names of the folders "epoch-E_step-S", the last one first.
[[nodiscard]] std::vector<std::string> savesIn(const Candidate& folder);

// Goes into the save that `tag` names, or the last one, where a folder holds such saves; says which it is and which others there are. Refused: a tag that is none.
Status chooseSave(Candidate& folder, const std::optional<std::string>& tag, std::string& chosen, std::vector<std::string>& others);
Status readTrainingFolder(CheckpointBuilder& builder, const Candidate& folder, const RuleSet& rules, Facts& facts, JobContext& job);

} // namespace shardlens::colossalai
