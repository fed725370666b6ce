#include "core/analysis/rename.h"

#include "core/base/text.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <unordered_map>
#include <unordered_set>
#include <utility>

namespace shardlens {
namespace {

constexpr std::size_t kNamesLookedAt = 200;  // of `a`, for candidates; all names count for the best
constexpr std::size_t kLeadingParts = 6;     // of a name that may be taken away
constexpr std::size_t kCandidatesTried = 16;

// Where the parts of a name begin: 0, and after each of the first dots.
std::vector<std::size_t> partsOf(std::string_view name)
{
    std::vector<std::size_t> out{0};
    for (std::size_t at = name.find('.'); at != std::string_view::npos && out.size() <= kLeadingParts; at = name.find('.', at + 1))
        out.push_back(at + 1);
    return out;
}

std::string quotedPattern(std::string_view literal)
{
    std::string out;
    for (const char c : literal) {
        if (std::string_view(R"(\^$.|?*+()[]{})").find(c) != std::string_view::npos)
            out += '\\';
        out += c;
    }
    return out;
}

std::string quotedReplacement(std::string_view literal)
{
    std::string out;
    for (const char c : literal)
        out += c == '$' ? "$$" : std::string(1, c);
    return out;
}

using Prefixes = std::pair<std::string, std::string>; // of a, of b

std::size_t matchesOf(const Prefixes& prefixes, const std::vector<std::string>& a, const std::unordered_set<std::string>& b)
{
    return static_cast<std::size_t>(std::count_if(a.begin(), a.end(), [&](const std::string& name) {
        return name.starts_with(prefixes.first) && b.contains(prefixes.second + name.substr(prefixes.first.size()));
    }));
}

// Pairs of leading parts behind which names of both sides go on equally, most frequent first.
std::vector<Prefixes> candidates(const std::vector<std::string>& a, const std::vector<std::string>& b)
{
    std::unordered_multimap<std::string_view, std::string_view> prefixOfRest; // of b
    for (const std::string& name : b)
        for (const std::size_t at : partsOf(name))
            prefixOfRest.emplace(std::string_view(name).substr(at), std::string_view(name).substr(0, at));
    std::map<Prefixes, std::size_t> votes;
    const std::size_t step = std::max<std::size_t>(a.size() / kNamesLookedAt, 1);
    for (std::size_t i = 0; i < a.size(); i += step)
        for (const std::size_t at : partsOf(a[i])) {
            const auto [first, last] = prefixOfRest.equal_range(std::string_view(a[i]).substr(at));
            if (std::distance(first, last) > 8) // "weight" is the end of everything
                continue;
            for (auto one = first; one != last; ++one)
                ++votes[{a[i].substr(0, at), std::string(one->second)}];
        }
    std::vector<Prefixes> out;
    for (const auto& [prefixes, count] : votes)
        if (prefixes.first != prefixes.second)
            out.push_back(prefixes);
    std::stable_sort(out.begin(), out.end(), [&](const Prefixes& x, const Prefixes& y) { return votes[x] > votes[y]; });
    if (out.size() > kCandidatesTried)
        out.resize(kCandidatesTried);
    return out;
}

} // namespace

Result<RenameRule> RenameRule::parse(std::string_view text)
{
    const std::size_t equals = text.rfind('=');
    if (equals == std::string_view::npos || equals == 0)
        return Error{ErrorCode::Refused, fmt::format("the rename rule {} is not FROM=TO", printable(text))};
    SHARDLENS_ASSIGN(Regex from, Regex::compile(text.substr(0, equals)));
    RenameRule rule{std::move(from), std::string(text.substr(equals + 1))};
    return rule;
}

Result<std::string> renamed(const std::string& name, const std::vector<RenameRule>& rules)
{
    std::string out = name;
    for (const RenameRule& rule : rules) {
        SHARDLENS_ASSIGN(out, rule.from.replaced(out, rule.to));
    }
    return out;
}

std::optional<RenameSuggestion> suggestRename(const std::vector<std::string>& a, const std::vector<std::string>& b)
{
    const std::unordered_set<std::string> namesOfB(b.begin(), b.end());
    std::optional<RenameSuggestion> best;
    std::size_t bestLength = 0;
    for (const Prefixes& prefixes : candidates(a, b)) {
        const std::size_t matches = matchesOf(prefixes, a, namesOfB);
        const std::size_t length = prefixes.first.size() + prefixes.second.size();
        if (matches == 0 || (best && (matches < best->matches || (matches == best->matches && length >= bestLength))))
            continue;
        best = RenameSuggestion{fmt::format("^{}={}", quotedPattern(prefixes.first), quotedReplacement(prefixes.second)), matches};
        bestLength = length;
    }
    return best;
}

} // namespace shardlens
