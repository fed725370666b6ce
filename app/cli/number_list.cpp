#include "app/cli/number_list.h"

#include "core/base/text.h"

#include <fmt/format.h>

#include <charconv>
#include <limits>

namespace shardlens::cli {
namespace {

std::string_view withoutSpaces(std::string_view text)
{
    const std::size_t begin = text.find_first_not_of(' ');
    return begin == std::string_view::npos ? std::string_view{} : text.substr(begin, text.find_last_not_of(' ') - begin + 1);
}

} // namespace

Result<std::vector<std::string>> wordsOf(std::string_view text, std::string_view what)
{
    std::vector<std::string> out;
    for (std::size_t begin = 0; begin <= text.size();) {
        const std::size_t end = std::min(text.find(',', begin), text.size());
        const std::string_view word = withoutSpaces(text.substr(begin, end - begin));
        if (word.empty())
            return Error{ErrorCode::Refused, fmt::format("{} {} is empty", what, out.size() + 1)};
        out.emplace_back(word);
        begin = end + 1;
    }
    return out;
}

Result<std::vector<std::uint64_t>> wholeNumbersOf(std::string_view text, std::string_view what)
{
    constexpr std::uint64_t kMost = std::numeric_limits<std::int64_t>::max();
    SHARDLENS_ASSIGN(const std::vector<std::string> words, wordsOf(text, what));
    std::vector<std::uint64_t> out;
    for (const std::string& word : words) {
        std::uint64_t number = 0;
        const auto [end, problem] = std::from_chars(word.data(), word.data() + word.size(), number);
        if (problem != std::errc{} || end != word.data() + word.size() || number > kMost)
            return Error{ErrorCode::Refused, fmt::format("{} {} is '{}', a whole number from 0 to {} is needed", what, out.size() + 1, printable(word), kMost)};
        out.push_back(number);
    }
    return out;
}

} // namespace shardlens::cli
