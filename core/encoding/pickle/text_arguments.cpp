#include "core/encoding/pickle/text_arguments.h"

#include "core/base/text.h"

#include <fmt/format.h>

#include <charconv>
#include <cmath>
#include <vector>

namespace shardlens::pickle {
namespace {

constexpr std::size_t kMaxDecimalDigits = 4300; // CPython's own limit

Error badNumber(std::string_view line)
{
    return {ErrorCode::Corrupt, fmt::format("'{}' is no number", printable(line.substr(0, 40)))};
}

std::string_view trimmed(std::string_view text)
{
    const auto isBlank = [](char c) { return c == ' ' || (c >= '\t' && c <= '\r'); };
    while (!text.empty() && isBlank(text.front()))
        text.remove_prefix(1);
    while (!text.empty() && isBlank(text.back()))
        text.remove_suffix(1);
    return text;
}

struct Digits {
    bool negative = false;
    int base = 10;
    std::string digits; // without underscores
};

// Sign, prefix and digits of Python's base-0 rules; `cOctal`: a leading 0 means octal, as strtol has it.
Result<Digits> digitsOf(std::string_view line, bool cOctal)
{
    std::string_view text = trimmed(line);
    Digits out;
    if (!text.empty() && (text.front() == '+' || text.front() == '-')) {
        out.negative = text.front() == '-';
        text.remove_prefix(1);
    }
    if (text.size() > 1 && text[0] == '0') {
        const char mark = static_cast<char>(text[1] | 0x20);
        out.base = mark == 'x' ? 16 : mark == 'o' ? 8 : mark == 'b' ? 2 : cOctal ? 8 : 10;
        if (mark == 'x' || mark == 'o' || mark == 'b')
            text.remove_prefix(2);
        else if (!cOctal && text.find_first_not_of("0_") != std::string_view::npos)
            return badNumber(line); // 010 is an error in Python
    }
    for (std::size_t i = 0; i < text.size(); ++i) {
        if (text[i] == '_' && i > 0 && i + 1 < text.size() && text[i - 1] != '_')
            continue;
        out.digits += text[i];
    }
    if (out.digits.empty() || out.digits.size() > kMaxDecimalDigits)
        return badNumber(line);
    return out;
}

// Long multiplication into little-endian bytes; quadratic in at most 4,300 digits.
Result<std::string> bigOf(const Digits& number, std::string_view line)
{
    std::vector<std::uint8_t> bytes{0};
    for (const char digit : number.digits) {
        const int value = digit >= '0' && digit <= '9' ? digit - '0' : (digit | 0x20) >= 'a' && (digit | 0x20) <= 'f' ? (digit | 0x20) - 'a' + 10 : 99;
        if (value >= number.base)
            return badNumber(line);
        int carry = value;
        for (std::uint8_t& byte : bytes) {
            carry += byte * number.base;
            byte = static_cast<std::uint8_t>(carry & 0xFF);
            carry >>= 8;
        }
        if (carry != 0)
            bytes.push_back(static_cast<std::uint8_t>(carry));
    }
    bytes.push_back(0); // room for the sign
    if (number.negative) {
        int carry = 1;
        for (std::uint8_t& byte : bytes) {
            carry += static_cast<std::uint8_t>(~byte);
            byte = static_cast<std::uint8_t>(carry & 0xFF);
            carry >>= 8;
        }
    }
    return std::string(bytes.begin(), bytes.end());
}

Result<LineNumber> numberOf(std::string_view line, bool cOctal)
{
    SHARDLENS_ASSIGN(const Digits digits, digitsOf(line, cOctal));
    LineNumber out;
    const std::string text = (digits.negative ? "-" : "") + digits.digits;
    const auto [end, problem] = std::from_chars(text.data(), text.data() + text.size(), out.small, digits.base);
    if (problem == std::errc::result_out_of_range) {
        SHARDLENS_ASSIGN(out.big, bigOf(digits, line));
        return out;
    }
    if (problem != std::errc{} || end != text.data() + text.size())
        return badNumber(line);
    return out;
}

void appendUtf8(std::string& out, std::uint32_t code)
{
    if (code < 0x80) {
        out += static_cast<char>(code);
    } else if (code < 0x800) {
        out += static_cast<char>(0xC0 | (code >> 6));
        out += static_cast<char>(0x80 | (code & 0x3F));
    } else if (code < 0x10000) {
        out += static_cast<char>(0xE0 | (code >> 12));
        out += static_cast<char>(0x80 | ((code >> 6) & 0x3F));
        out += static_cast<char>(0x80 | (code & 0x3F));
    } else {
        out += static_cast<char>(0xF0 | (code >> 18));
        out += static_cast<char>(0x80 | ((code >> 12) & 0x3F));
        out += static_cast<char>(0x80 | ((code >> 6) & 0x3F));
        out += static_cast<char>(0x80 | (code & 0x3F));
    }
}

// Exactly `count` hexadecimal digits at `at`.
bool hexAt(std::string_view text, std::size_t at, std::size_t count, std::uint32_t& out)
{
    if (at + count > text.size())
        return false;
    const auto [end, problem] = std::from_chars(text.data() + at, text.data() + at + count, out, 16);
    return problem == std::errc{} && end == text.data() + at + count;
}

} // namespace

Result<LineNumber> intOfLine(std::string_view line)
{
    const std::string_view text = line.substr(0, line.find('\0'));
    SHARDLENS_ASSIGN(LineNumber out, numberOf(text, true));
    out.isBool = line.size() == 2 && out.big.empty() && (out.small == 0 || out.small == 1);
    return out;
}

Result<LineNumber> longOfLine(std::string_view line)
{
    if (line.ends_with('L'))
        line.remove_suffix(1);
    return numberOf(line, false);
}

Result<double> floatOfLine(std::string_view line)
{
    std::string_view text = line.substr(0, line.find('\0'));
    const bool hasTwoSigns = text.starts_with("+-");
    if (text.starts_with('+'))
        text.remove_prefix(1);
    double out = 0;
    const auto [end, problem] = std::from_chars(text.data(), text.data() + text.size(), out);
    const bool hasParentheses = text.find('(') != std::string_view::npos; // nan(…) is C++'s alone
    if (hasTwoSigns || problem != std::errc{} || end != text.data() + text.size() || hasParentheses)
        return badNumber(line);
    return out;
}

Result<std::string> stringOfLine(std::string_view line)
{
    const bool quoted = line.size() >= 2 && line.front() == line.back() && (line.front() == '\'' || line.front() == '"');
    if (!quoted)
        return Error{ErrorCode::Corrupt, "a string without its quotes"};
    const std::string_view text = line.substr(1, line.size() - 2);
    constexpr std::string_view kEscapes = "\\'\"abfnrtv";
    constexpr std::string_view kMeanings = "\\'\"\a\b\f\n\r\t\v";
    std::string out;
    for (std::size_t i = 0; i < text.size(); ++i) {
        if (text[i] != '\\') {
            out += text[i];
            continue;
        }
        if (++i == text.size())
            return Error{ErrorCode::Corrupt, "a string that ends in a backslash"};
        std::uint32_t code = 0;
        if (const std::size_t known = kEscapes.find(text[i]); known != std::string_view::npos) {
            out += kMeanings[known];
        } else if (text[i] == 'x') {
            if (!hexAt(text, i + 1, 2, code))
                return Error{ErrorCode::Corrupt, "\\x without two hexadecimal digits"};
            out += static_cast<char>(code);
            i += 2;
        } else if (text[i] >= '0' && text[i] <= '7') {
            std::size_t count = 0;
            while (count < 3 && i + count < text.size() && text[i + count] >= '0' && text[i + count] <= '7')
                code = code * 8 + static_cast<std::uint32_t>(text[i + count++] - '0');
            out += static_cast<char>(code & 0xFF);
            i += count - 1;
        } else {
            out += '\\';
            out += text[i];
        }
    }
    return out;
}

Result<std::string> unicodeOfLine(std::string_view line)
{
    std::string out;
    for (std::size_t i = 0; i < line.size(); ++i) {
        const bool escape = line[i] == '\\' && i + 1 < line.size() && (line[i + 1] == 'u' || line[i + 1] == 'U');
        if (!escape) {
            appendUtf8(out, static_cast<unsigned char>(line[i]));
            continue;
        }
        const std::size_t digits = line[i + 1] == 'u' ? 4 : 8;
        std::uint32_t code = 0;
        if (!hexAt(line, i + 2, digits, code) || code > 0x10FFFF)
            return Error{ErrorCode::Corrupt, fmt::format("\\{} without {} hexadecimal digits of a character", line[i + 1], digits)};
        appendUtf8(out, code);
        i += 1 + digits;
    }
    return out;
}

Result<std::uint64_t> slotOfLine(std::string_view line)
{
    std::string_view text = trimmed(line);
    if (text.starts_with('+'))
        text.remove_prefix(1);
    std::uint64_t slot = 0;
    const auto [end, problem] = std::from_chars(text.data(), text.data() + text.size(), slot);
    if (text.empty() || problem != std::errc{} || end != text.data() + text.size())
        return badNumber(line);
    return slot;
}

} // namespace shardlens::pickle
