#include "core/base/text.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cctype>
#include <charconv>
#include <cmath>

namespace shardlens {
namespace {

bool isPlainAscii(char c)
{
    return c >= 0x20 && c < 0x7F;
}

// Three significant digits without exponent: 602, 87.9, 1.02.
std::string threeDigits(double value)
{
    if (value >= 99.95)
        return fmt::format("{:.0f}", value);
    if (value >= 9.995)
        return fmt::format("{:.1f}", value);
    return fmt::format("{:.2f}", value);
}

std::size_t utf8Length(std::string_view text, std::size_t at)
{
    const auto byteAt = [&](std::size_t i) { return static_cast<unsigned char>(text[i]); };
    const unsigned char lead = byteAt(at);
    if (lead < 0x80)
        return 1;
    const std::size_t length = lead >= 0xF0 ? 4 : lead >= 0xE0 ? 3 : 2;
    if (lead < 0xC2 || lead > 0xF4 || at + length > text.size())
        return 0;
    for (std::size_t i = 1; i < length; ++i)
        if ((byteAt(at + i) & 0xC0) != 0x80)
            return 0;
    const unsigned char second = byteAt(at + 1);
    const bool overlong = (lead == 0xE0 && second < 0xA0) || (lead == 0xF0 && second < 0x90);
    const bool tooLarge = (lead == 0xED && second > 0x9F) || (lead == 0xF4 && second > 0x8F);
    return overlong || tooLarge ? 0 : length;
}

// U+200E, U+200F, U+202A…U+202E, U+2066…U+2069: marks that reorder what follows.
bool isBidirectionalMark(std::string_view character)
{
    if (character.size() != 3 || character[0] != '\xE2')
        return false;
    const auto second = static_cast<unsigned char>(character[1]);
    const auto third = static_cast<unsigned char>(character[2]);
    if (second == 0x80)
        return third == 0x8E || third == 0x8F || (third >= 0xAA && third <= 0xAE);
    return second == 0x81 && third >= 0xA6 && third <= 0xA9;
}

std::string escapedByte(unsigned char byte)
{
    switch (byte) {
    case '\n': return "\\n";
    case '\r': return "\\r";
    case '\t': return "\\t";
    default: return fmt::format("\\x{:02x}", byte);
    }
}

} // namespace

std::string sizeText(std::uint64_t bytes)
{
    constexpr std::array<const char*, 7> kUnits{"B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"};
    if (bytes < 1024)
        return fmt::format("{} B", bytes);
    auto value = static_cast<double>(bytes);
    std::size_t unit = 0;
    while (value >= 1023.5 && unit + 1 < kUnits.size()) {
        value /= 1024;
        ++unit;
    }
    return fmt::format("{} {}", threeDigits(value), kUnits[unit]);
}

std::string groupedText(std::uint64_t number)
{
    std::string digits = std::to_string(number);
    for (std::size_t at = digits.size(); at > 3;) {
        at -= 3;
        digits.insert(at, 1, ',');
    }
    return digits;
}

std::string exactSizeText(std::uint64_t bytes)
{
    if (bytes < 1024)
        return sizeText(bytes);
    return fmt::format("{} ({} B)", sizeText(bytes), groupedText(bytes));
}

std::string countText(std::uint64_t count)
{
    constexpr std::array<const char*, 5> kUnits{"", " k", " M", " B", " T"};
    if (count < 10'000)
        return groupedText(count);
    auto value = static_cast<double>(count);
    std::size_t unit = 0;
    while (value >= 999.5 && unit + 1 < kUnits.size()) {
        value /= 1000;
        ++unit;
    }
    return threeDigits(value) + kUnits[unit];
}

std::string shapeText(std::span<const std::uint64_t> shape)
{
    return fmt::format("[{}]", fmt::join(shape, ", "));
}

std::string rateText(double bytesPerSecond)
{
    if (!(bytesPerSecond > 0))
        return "0 B/s";
    if (bytesPerSecond < 1e5)
        return fmt::format("{} kB/s", threeDigits(bytesPerSecond / 1e3));
    if (bytesPerSecond < 999.5e6)
        return fmt::format("{} MB/s", threeDigits(bytesPerSecond / 1e6));
    return fmt::format("{} GB/s", threeDigits(bytesPerSecond / 1e9));
}

std::string durationText(double seconds)
{
    if (!(seconds > 0))
        return "0 s";
    if (seconds < 1)
        return fmt::format("{:.0f} ms", std::ceil(seconds * 1000));
    if (seconds < 9.95)
        return fmt::format("{:.1f} s", seconds);
    const auto whole = static_cast<std::uint64_t>(std::llround(seconds));
    if (whole < 60)
        return fmt::format("{} s", whole);
    if (whole < 3600)
        return fmt::format("{} min {} s", whole / 60, whole % 60);
    return fmt::format("{} h {} min", whole / 3600, whole % 3600 / 60);
}

std::string percentText(double fraction)
{
    if (fraction <= 0)
        return "0 %";
    if (fraction >= 1)
        return "100 %";
    const double percent = fraction * 100;
    for (int digits = 1; digits < 12; ++digits) {
        std::string out = fmt::format("{:.{}f}", percent, digits);
        double shown = 0;
        std::from_chars(out.data(), out.data() + out.size(), shown);
        if (shown > 0 && shown < 100)
            return out + " %";
    }
    return percent < 50 ? "0.000000000001 %" : "99.999999999999 %";
}

std::string plural(std::uint64_t count, std::string_view one, std::string_view many)
{
    return fmt::format("{} {}", groupedText(count), count == 1 ? one : many);
}

std::string lowerCase(std::string_view text)
{
    std::string out(text);
    for (char& c : out)
        c = c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
    return out;
}

std::string printable(std::string_view text)
{
    if (std::all_of(text.begin(), text.end(), isPlainAscii)) // nearly every name
        return std::string(text);
    std::string out;
    out.reserve(text.size());
    for (std::size_t at = 0; at < text.size();) {
        const std::size_t length = utf8Length(text, at);
        const auto byte = static_cast<unsigned char>(text[at]);
        if (length == 0 || byte < 0x20 || byte == 0x7F) {
            out += escapedByte(byte);
            ++at;
            continue;
        }
        const std::string_view character = text.substr(at, length);
        if (isBidirectionalMark(character))
            out += fmt::format("\\u{:04X}", ((byte & 0x0F) << 12) | ((static_cast<unsigned char>(character[1]) & 0x3F) << 6) |
                                                (static_cast<unsigned char>(character[2]) & 0x3F));
        else
            out += character;
        at += length;
    }
    return out;
}

bool isUtf8(std::string_view text)
{
    if (std::all_of(text.begin(), text.end(), isPlainAscii))
        return true;
    for (std::size_t at = 0; at < text.size();) {
        const std::size_t length = utf8Length(text, at);
        if (length == 0)
            return false;
        at += length;
    }
    return true;
}

bool naturalLess(std::string_view a, std::string_view b)
{
    const auto isDigit = [](char c) { return c >= '0' && c <= '9'; };
    std::size_t i = 0;
    std::size_t j = 0;
    while (i < a.size() && j < b.size()) {
        if (!isDigit(a[i]) || !isDigit(b[j])) {
            if (a[i] != b[j])
                return static_cast<unsigned char>(a[i]) < static_cast<unsigned char>(b[j]);
            ++i;
            ++j;
            continue;
        }
        while (i < a.size() && a[i] == '0')
            ++i;
        while (j < b.size() && b[j] == '0')
            ++j;
        std::size_t endA = i;
        std::size_t endB = j;
        while (endA < a.size() && isDigit(a[endA]))
            ++endA;
        while (endB < b.size() && isDigit(b[endB]))
            ++endB;
        if (endA - i != endB - j)
            return endA - i < endB - j;
        if (const int order = a.substr(i, endA - i).compare(b.substr(j, endB - j)); order != 0)
            return order < 0;
        i = endA;
        j = endB;
    }
    if (i < a.size() || j < b.size())
        return i == a.size();
    return a < b;
}

std::uint64_t parseSize(std::string_view text)
{
    double value = 0;
    const auto [end, problem] = std::from_chars(text.data(), text.data() + text.size(), value);
    if (problem != std::errc{} || !(value >= 0))
        return 0;
    std::string unit;
    for (const char* at = end; at != text.data() + text.size(); ++at)
        if (*at != ' ')
            unit += static_cast<char>(std::tolower(static_cast<unsigned char>(*at)));
    struct Unit {
        std::string_view name;
        double bytes;
    };
    constexpr std::array<Unit, 9> kUnits{{{"b", 1}, {"kb", 1e3}, {"mb", 1e6}, {"gb", 1e9}, {"tb", 1e12},
                                          {"kib", 1024}, {"mib", 1048576}, {"gib", 1073741824}, {"tib", 1099511627776.0}}};
    for (const Unit& known : kUnits)
        if (unit == known.name && value * known.bytes < 9e18)
            return static_cast<std::uint64_t>(value * known.bytes);
    return 0;
}

} // namespace shardlens
