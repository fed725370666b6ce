#pragma once

#include "core/base/result.h"

#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace shardlens {

// A compiled user pattern (Perl syntax, as Python's re reads it in what people write), searched unanchored.
// Matching is bounded; a pattern that exceeds its limits counts as no match. Copies share the compiled pattern; safe from several threads.
class Regex {
public:
    // Refused with the reason and the position in the pattern where it does not compile.
    [[nodiscard]] static Result<Regex> compile(std::string_view pattern, bool ignoreCase = false);

    [[nodiscard]] bool search(std::string_view text) const;
    // What the groups of the first match matched, as parts of `text` ([0] is the whole match; a group that took no part is empty). Nothing without a match.
    [[nodiscard]] std::optional<std::vector<std::string_view>> groups(std::string_view text) const;
    // Every match replaced; $1 and \1 stand for groups, $$ for a dollar. Refused where the replacement names a group that is not there, or is too long.
    [[nodiscard]] Result<std::string> replaced(std::string_view text, std::string_view replacement) const;
    [[nodiscard]] const std::string& pattern() const { return m_pattern; }

private:
    struct Code;
    Regex(std::string pattern, std::shared_ptr<const Code> code);

    std::string m_pattern;
    std::shared_ptr<const Code> m_code;
};

} // namespace shardlens
