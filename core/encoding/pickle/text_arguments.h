#pragma once

#include "core/base/result.h"

#include <cstdint>
#include <string>
#include <string_view>

namespace shardlens::pickle {

// The arguments of protocol 0's opcodes, read as CPython's C unpickler reads them (formats/pickle-safety.md §3.2).

struct LineNumber {
    std::int64_t small = 0;
    bool isBool = false;
    std::string big; // little-endian two's complement where 64 bits are too few; else empty
};

[[nodiscard]] Result<LineNumber> intOfLine(std::string_view line);
[[nodiscard]] Result<LineNumber> longOfLine(std::string_view line);
[[nodiscard]] Result<double> floatOfLine(std::string_view line);
[[nodiscard]] Result<std::string> stringOfLine(std::string_view line);  // quoted, with backslash escapes
[[nodiscard]] Result<std::string> unicodeOfLine(std::string_view line); // raw-unicode-escape; the result is UTF-8
[[nodiscard]] Result<std::uint64_t> slotOfLine(std::string_view line);  // decimal, not negative

} // namespace shardlens::pickle
