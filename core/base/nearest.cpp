#include "core/base/nearest.h"

#include <algorithm>
#include <numeric>
#include <utility>

namespace shardlens {
namespace {

constexpr std::size_t kMostLetters = 8;

// "optim.state.w.exp_avg" of "w/exp_avg"
bool endsBehindDot(std::string_view text, std::string_view end)
{
    if (text.size() <= end.size() || text[text.size() - end.size() - 1] != '.')
        return false;
    return std::ranges::equal(text.substr(text.size() - end.size()), end, [](char a, char b) { return a == b || (a == '.' && b == '/'); });
}

} // namespace

std::size_t editDistance(std::string_view a, std::string_view b, std::size_t most)
{
    if (std::max(a.size(), b.size()) - std::min(a.size(), b.size()) > most)
        return most + 1;
    std::vector<std::size_t> row(b.size() + 1);
    std::iota(row.begin(), row.end(), std::size_t{0});
    for (std::size_t i = 0; i < a.size(); ++i) {
        std::size_t diagonal = std::exchange(row[0], i + 1);
        for (std::size_t j = 0; j < b.size(); ++j)
            diagonal = std::exchange(row[j + 1], std::min({row[j] + 1, row[j + 1] + 1, diagonal + (a[i] == b[j] ? 0 : 1)}));
        if (*std::min_element(row.begin(), row.end()) > most)
            return most + 1;
    }
    return std::min(row.back(), most + 1);
}

std::vector<std::string> nearestNames(std::string_view asked, const std::vector<std::string>& names, std::size_t limit)
{
    std::vector<std::string> out;
    for (const std::string& name : names)
        if (out.size() < limit && (name.find(asked) != std::string::npos || endsBehindDot(asked, name)))
            out.push_back(name);
    if (!out.empty())
        return out;
    const std::size_t most = std::clamp<std::size_t>(asked.size() / 4, 1, kMostLetters);
    std::vector<std::pair<std::size_t, std::size_t>> near; // distance, number
    for (std::size_t i = 0; i < names.size(); ++i)
        if (const std::size_t distance = editDistance(asked, names[i], most); distance <= most)
            near.emplace_back(distance, i);
    std::sort(near.begin(), near.end());
    for (std::size_t i = 0; i < std::min(limit, near.size()); ++i)
        out.push_back(names[near[i].second]);
    return out;
}

} // namespace shardlens
