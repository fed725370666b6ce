#pragma once

#include "core/layout/rule_set.h"

#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace shardlens {

// The rule files of resources/rules, which are part of the program.
[[nodiscard]] std::span<const RuleSet> builtInRules();
// One of them; it must be there.
[[nodiscard]] const RuleSet& builtInRules(std::string_view id);

// The folder of the user's own rule files: $XDG_CONFIG_HOME/shardlens/rules, or ~/.config/shardlens/rules. Empty where neither is known.
[[nodiscard]] std::string userRulesFolder();

// A rule file that was read, or why it was not.
struct RuleFile {
    std::string path;
    std::optional<RuleSet> rules;
    std::string problem; // a fragment; empty where it was read
};
// The *.json of a folder, by name; none where there is no such folder.
[[nodiscard]] std::vector<RuleFile> rulesIn(const std::string& folder);
[[nodiscard]] Result<RuleSet> readRuleFile(const std::string& path);

// What `--rules` names: a file (a path, or a name that ends in .json), else an id: the user's files first, then the built-in ones.
// NotFound lists the ids there are, and the user's files that could not be read.
[[nodiscard]] Result<RuleSet> findRules(const std::string& idOrFile);

} // namespace shardlens
