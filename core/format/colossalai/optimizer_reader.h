#pragma once

#include "core/base/result.h"
#include "core/format/colossalai/model_order.h"
#include "core/format/format.h"
#include "core/layout/rule_set.h"
#include "core/model/checkpoint_builder.h"

#include <string>

namespace shardlens::colossalai {

// Where an optimizer's states lie.
struct OptimizerPlace {
    Candidate folder;
    std::string prefix; // before names of files: "optimizer/"
    std::string index;  // chosen; empty: the only one
    std::string file;   // a single file of states (family E); empty: by an index, or the only file
};

// Whether a folder holds an optimizer: an index, parts of an interrupted save, or a file of that name.
[[nodiscard]] bool hasOptimizer(const Candidate& folder);
// Whether a file is one of states that the async writer made, by its first bytes.
[[nodiscard]] bool isFlattenedOptimizer(const Candidate& file);

// Reads an optimizer's states (families D and E, and their safetensors form) into a builder, under the names of the parameters as far as `model` tells them.
// What is missing is a finding; refused is what is no optimizer at all. Numbers of parameters go into `facts` (optimizer_facts.h).
[[nodiscard]] Status readOptimizer(CheckpointBuilder& builder, const OptimizerPlace& place, const ModelOrder* model, const RuleSet& rules, Facts& facts, JobContext& job);

} // namespace shardlens::colossalai
