#pragma once

#include "core/format/colossalai/model_order.h"
#include "core/layout/rule_set.h"

#include <cstdint>
#include <map>
#include <string>
#include <utility>
#include <vector>

namespace shardlens::colossalai {

// A group of parameters as the group file lists it.
struct OptimizerGroup {
    std::vector<std::int64_t> params;
    std::vector<std::string> names; // param_names; as many as params, or none
};

// What an optimizer keeps of one parameter: its states with more than one value, by name.
struct NumberedStates {
    std::int64_t id = 0;
    std::vector<std::pair<std::string, Shape>> states;
};

// The names of numbered parameters, or why they keep their numbers (formats/colossalai.md §6.1).
struct StateNames {
    std::map<std::int64_t, std::string> names;
    std::string why;              // a sentence for people, about names or numbers
    bool isIncomplete = false;    // states that are smaller than their parameters by one factor along a dimension
};

// `states` ascending by id. Without groups (none could be read) every grouping that is usual is tried.
[[nodiscard]] StateNames nameStates(const std::vector<NumberedStates>& states, const std::vector<OptimizerGroup>& groups, const ModelOrder* model, const RuleSet& rules);

} // namespace shardlens::colossalai
