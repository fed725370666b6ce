#pragma once

#include "core/base/regex.h"
#include "core/base/result.h"

#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace shardlens {

// What a name is called elsewhere.
struct RenameRule {
    Regex from;
    std::string to;

    // "FROM=TO"; the last = counts, so that a pattern may hold one. Refused without one, and where FROM does not compile or TO names no group of it.
    [[nodiscard]] static Result<RenameRule> parse(std::string_view text);
};

// All rules, in order, each on what the one before left.
[[nodiscard]] Result<std::string> renamed(const std::string& name, const std::vector<RenameRule>& rules);

// A rule, as RenameRule::parse() reads it, that makes as many names of `a` as possible names of `b`: a leading part is taken away, added or exchanged.
struct RenameSuggestion {
    std::string rule;
    std::size_t matches = 0;
};
// The best one; nothing where no such rule brings two names together.
[[nodiscard]] std::optional<RenameSuggestion> suggestRename(const std::vector<std::string>& a, const std::vector<std::string>& b);

} // namespace shardlens
