#pragma once

#include <bit>
#include <cmath>
#include <cstdint>

namespace shardlens {

// The floating-point formats below 32 bits, described once: how many bits, where infinity and NaN are (formats/pytorch.md §3.3).
struct SmallFloat {
    int exponentBits;
    int mantissaBits;
    int bias;
    bool hasInfinity; // IEEE: the top exponent is infinity and NaN
    bool isUnsignedZero; // FNUZ: the code of −0 is the one NaN
};

constexpr SmallFloat kFloat16{5, 10, 15, true, false};
constexpr SmallFloat kBFloat16{8, 7, 127, true, false};
constexpr SmallFloat kFloat8E5M2{5, 2, 15, true, false};
constexpr SmallFloat kFloat8E4M3{4, 3, 7, false, false};
constexpr SmallFloat kFloat8E4M3Fnuz{4, 3, 8, false, true};
constexpr SmallFloat kFloat8E5M2Fnuz{5, 2, 16, false, true};

constexpr std::uint32_t signBit(const SmallFloat& format)
{
    return 1u << (format.exponentBits + format.mantissaBits);
}

constexpr std::uint32_t nanCode(const SmallFloat& format)
{
    if (format.isUnsignedZero)
        return signBit(format);
    const std::uint32_t all = signBit(format) - 1;
    const std::uint32_t quiet = 1u << (format.mantissaBits - 1);
    return format.hasInfinity ? (all & ~((1u << format.mantissaBits) - 1)) | quiet : all;
}

// Largest finite magnitude's code.
constexpr std::uint32_t largestCode(const SmallFloat& format)
{
    const std::uint32_t all = signBit(format) - 1;
    if (format.isUnsignedZero)
        return all;
    return format.hasInfinity ? (all & ~((1u << format.mantissaBits) - 1)) - 1 : all - 1;
}

// Value of a code.
inline double decodeSmall(std::uint32_t code, const SmallFloat& format)
{
    const bool negative = (code & signBit(format)) != 0;
    const std::uint32_t magnitude = code & (signBit(format) - 1);
    const std::uint32_t mantissa = magnitude & ((1u << format.mantissaBits) - 1);
    const auto exponent = static_cast<int>(magnitude >> format.mantissaBits);
    if (format.isUnsignedZero && code == signBit(format))
        return std::nan("");
    if (magnitude > largestCode(format)) {
        if (format.hasInfinity && mantissa == 0)
            return negative ? -HUGE_VAL : HUGE_VAL;
        return std::nan("");
    }
    const double fraction = exponent == 0 ? mantissa : mantissa + (1u << format.mantissaBits);
    const double value = std::ldexp(fraction, (exponent == 0 ? 1 : exponent) - format.bias - format.mantissaBits);
    return negative ? -value : value;
}

// Rounds to the nearest code, ties to even; what is beyond the largest finite value becomes infinity, or NaN where there is none (as torch does).
inline std::uint32_t encodeSmall(double value, const SmallFloat& format)
{
    if (std::isnan(value))
        return nanCode(format);
    const std::uint32_t sign = std::signbit(value) ? signBit(format) : 0;
    const double magnitude = std::fabs(value);
    const std::uint32_t beyond = format.hasInfinity ? sign | (largestCode(format) + 1) : format.isUnsignedZero ? nanCode(format) : sign | nanCode(format);
    if (std::isinf(value))
        return beyond;
    int exponent = 0;
    std::frexp(magnitude, &exponent); // magnitude = f · 2^exponent, f in [0.5, 1)
    const int least = 1 - format.bias;
    const int unit = std::max(exponent - 1, least) - format.mantissaBits; // of the last place
    const double places = std::nearbyint(std::ldexp(magnitude, -unit));  // rounding mode: to nearest even
    if (places == 0)
        return format.isUnsignedZero ? 0 : sign;
    const double rounded = std::ldexp(places, unit);
    if (rounded > decodeSmall(largestCode(format), format))
        return beyond;
    std::frexp(rounded, &exponent);
    const int top = std::max(exponent - 1, least);
    const auto mantissa = static_cast<std::uint32_t>(std::ldexp(rounded, format.mantissaBits - top));
    const std::uint32_t hidden = 1u << format.mantissaBits;
    if (mantissa < hidden)
        return sign | mantissa; // subnormal
    return sign | (static_cast<std::uint32_t>(top + format.bias) << format.mantissaBits) | (mantissa - hidden);
}

} // namespace shardlens
