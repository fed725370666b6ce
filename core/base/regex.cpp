#include "core/base/regex.h"

#include <fmt/format.h>

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

#include <array>

namespace shardlens {
namespace {
constexpr std::uint32_t kMatchLimit = 1'000'000;
constexpr std::uint32_t kHeapLimitKiB = 16 * 1024;
constexpr std::size_t kLongestReplaced = 64 * 1024;

// Python writes \1, PCRE2 reads $1.
std::string withDollars(std::string_view replacement)
{
    std::string out;
    for (std::size_t i = 0; i < replacement.size(); ++i) {
        const bool isGroup = replacement[i] == '\\' && i + 1 < replacement.size() && replacement[i + 1] >= '0' && replacement[i + 1] <= '9';
        if (isGroup)
            out += fmt::format("${{{}}}", replacement[++i]);
        else
            out += replacement[i];
    }
    return out;
}
} // namespace

struct Regex::Code {
    pcre2_code* code = nullptr;
    pcre2_match_context* context = nullptr;

    Code() = default;
    Code(const Code&) = delete;
    Code& operator=(const Code&) = delete;
    ~Code()
    {
        pcre2_match_context_free(context);
        pcre2_code_free(code);
    }
};

Regex::Regex(std::string pattern, std::shared_ptr<const Code> code) : m_pattern(std::move(pattern)), m_code(std::move(code)) {}

Result<Regex> Regex::compile(std::string_view pattern, bool ignoreCase)
{
    int problem = 0;
    PCRE2_SIZE at = 0;
    const std::uint32_t options = PCRE2_UTF | PCRE2_MATCH_INVALID_UTF | PCRE2_NEVER_BACKSLASH_C | (ignoreCase ? PCRE2_CASELESS : 0u);
    auto code = std::make_shared<Code>();
    code->code = pcre2_compile(reinterpret_cast<PCRE2_SPTR>(pattern.data()), pattern.size(), options, &problem, &at, nullptr);
    if (code->code == nullptr) {
        std::array<PCRE2_UCHAR, 160> reason{};
        pcre2_get_error_message(problem, reason.data(), reason.size());
        return Error{ErrorCode::Refused, fmt::format("the pattern '{}' does not compile: {} at character {}", pattern,
                                                     reinterpret_cast<const char*>(reason.data()), at)};
    }
    pcre2_jit_compile(code->code, PCRE2_JIT_COMPLETE); // optional: the interpreter serves where it fails
    code->context = pcre2_match_context_create(nullptr);
    pcre2_set_match_limit(code->context, kMatchLimit);
    pcre2_set_heap_limit(code->context, kHeapLimitKiB);
    return Regex{std::string(pattern), std::move(code)};
}

bool Regex::search(std::string_view text) const
{
    pcre2_match_data* data = pcre2_match_data_create(1, nullptr);
    const int found = pcre2_match(m_code->code, reinterpret_cast<PCRE2_SPTR>(text.data()), text.size(), 0, 0, data, m_code->context);
    pcre2_match_data_free(data);
    return found >= 0;
}

std::optional<std::vector<std::string_view>> Regex::groups(std::string_view text) const
{
    pcre2_match_data* data = pcre2_match_data_create_from_pattern(m_code->code, nullptr);
    const int found = pcre2_match(m_code->code, reinterpret_cast<PCRE2_SPTR>(text.data()), text.size(), 0, 0, data, m_code->context);
    std::optional<std::vector<std::string_view>> out;
    if (found >= 0) {
        const PCRE2_SIZE* ends = pcre2_get_ovector_pointer(data);
        out.emplace(pcre2_get_ovector_count(data));
        for (std::size_t i = 0; i < static_cast<std::size_t>(found); ++i)
            if (ends[2 * i] != PCRE2_UNSET && ends[2 * i + 1] >= ends[2 * i])
                (*out)[i] = text.substr(ends[2 * i], ends[2 * i + 1] - ends[2 * i]);
    }
    pcre2_match_data_free(data);
    return out;
}

Result<std::string> Regex::replaced(std::string_view text, std::string_view replacement) const
{
    const std::string with = withDollars(replacement);
    std::string out(text.size() + with.size() + 256, '\0');
    while (true) {
        PCRE2_SIZE length = out.size();
        const int found = pcre2_substitute(m_code->code, reinterpret_cast<PCRE2_SPTR>(text.data()), text.size(), 0,
                                           PCRE2_SUBSTITUTE_GLOBAL | PCRE2_SUBSTITUTE_OVERFLOW_LENGTH, nullptr, m_code->context,
                                           reinterpret_cast<PCRE2_SPTR>(with.data()), with.size(), reinterpret_cast<PCRE2_UCHAR*>(out.data()), &length);
        if (found >= 0) {
            out.resize(length);
            return out;
        }
        if (found != PCRE2_ERROR_NOMEMORY || length > kLongestReplaced) {
            std::array<PCRE2_UCHAR, 160> reason{};
            pcre2_get_error_message(found, reason.data(), reason.size());
            return Error{ErrorCode::Refused, fmt::format("the replacement '{}': {}", replacement, reinterpret_cast<const char*>(reason.data()))};
        }
        out.resize(length);
    }
}

} // namespace shardlens
