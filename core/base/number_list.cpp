#include "core/base/number_list.h"

#include "core/base/text.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <limits>
#include <optional>

namespace shardlens {
namespace {

constexpr std::uint64_t kMostWords = 100'000;

std::string_view withoutSpaces(std::string_view text)
{
    const std::size_t begin = text.find_first_not_of(' ');
    return begin == std::string_view::npos ? std::string_view{} : text.substr(begin, text.find_last_not_of(' ') - begin + 1);
}

std::optional<std::uint64_t> numberIn(std::string_view text)
{
    std::uint64_t out = 0;
    const auto [end, problem] = std::from_chars(text.data(), text.data() + text.size(), out);
    return problem == std::errc{} && end == text.data() + text.size() ? std::optional(out) : std::nullopt;
}

} // namespace

Result<std::vector<std::string>> wordsOf(std::string_view text, std::string_view what)
{
    std::vector<std::string> out;
    for (std::size_t begin = 0; begin <= text.size();) {
        const std::size_t end = std::min(text.find(',', begin), text.size());
        std::string_view word = withoutSpaces(text.substr(begin, end - begin));
        begin = end + 1;
        std::uint64_t times = 1;
        if (const std::size_t star = word.rfind('*'); star != std::string_view::npos) {
            times = numberIn(withoutSpaces(word.substr(star + 1))).value_or(0);
            if (times == 0)
                return Error{ErrorCode::Refused, fmt::format("{} {}: '{}' does not say how many, as '{}*3' does", what, out.size() + 1,
                                                             printable(word), printable(word.substr(0, star)))};
            word = withoutSpaces(word.substr(0, star));
        }
        if (word.empty())
            return Error{ErrorCode::Refused, fmt::format("{} {} is empty", what, out.size() + 1)};
        if (times > kMostWords - out.size())
            return Error{ErrorCode::LimitExceeded, fmt::format("more than {} of them in the list", groupedText(kMostWords))};
        out.insert(out.end(), times, std::string(word));
    }
    return out;
}

Result<std::vector<std::uint64_t>> wholeNumbersOf(std::string_view text, std::string_view what)
{
    constexpr std::uint64_t kMost = std::numeric_limits<std::int64_t>::max();
    SHARDLENS_ASSIGN(const std::vector<std::string> words, wordsOf(text, what));
    std::vector<std::uint64_t> out;
    for (const std::string& word : words) {
        const auto number = numberIn(word);
        if (!number || *number > kMost)
            return Error{ErrorCode::Refused,
                         fmt::format("{} {} is '{}', a whole number from 0 to {} is needed", what, out.size() + 1, printable(word), kMost)};
        out.push_back(*number);
    }
    return out;
}

std::string listText(const std::vector<std::string>& words)
{
    std::string out;
    for (std::size_t begin = 0; begin < words.size();) {
        std::size_t end = begin + 1;
        while (end < words.size() && words[end] == words[begin])
            ++end;
        out += fmt::format("{}{}", begin == 0 ? "" : ",", words[begin]);
        if (end - begin > 1)
            out += fmt::format("*{}", end - begin);
        begin = end;
    }
    return out;
}

} // namespace shardlens
