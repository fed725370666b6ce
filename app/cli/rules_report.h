#pragma once

#include "app/cli/console.h"
#include "app/cli/json_answer.h"
#include "core/layout/rule_library.h"
#include "core/layout/rule_preview.h"
#include "core/model/checkpoint.h"

#include <vector>

namespace shardlens::cli {

// A rule file that there is: built in, or one of the user's, which come first.
struct KnownRules {
    RuleFile file;           // its path is empty for a built-in one
    bool isHidden = false;   // an earlier one has its id
};
[[nodiscard]] std::vector<KnownRules> knownRules();

// What rules make of a checkpoint, where one was given.
struct RulesOn {
    CheckpointPtr checkpoint;
    RulePreview preview;
};

void printKnownRules(Console& console, const std::vector<KnownRules>& known);
[[nodiscard]] Json knownRulesJson(const std::vector<KnownRules>& known);
void printRules(Console& console, const RuleSet& rules, const RulesOn* on);
[[nodiscard]] Json rulesJson(const RuleSet& rules, const RulesOn* on);

} // namespace shardlens::cli
