#pragma once

#include <cstdint>

// Arithmetic of single values that every kernel and the plain code share. All of internal linkage: a file that is compiled for a wider instruction set must not
// lend its copy of a function to one that is not. No fused multiply-add, no reordering (core/numeric/CMakeLists.txt): the results are bit for bit torch's.
namespace shardlens {
namespace {

// The dtype that arithmetic is done in: every result is rounded to it (formats/quantization.md §4.2).
enum class RoundTo : std::uint8_t { F32, BF16, F16 };

constexpr std::uint32_t kMagnitudeBits = 0x7FFFFFFFu;
constexpr std::uint32_t kInfinityBits = 0x7F800000u;

[[maybe_unused]] inline std::uint32_t bitsOf(float value) { return __builtin_bit_cast(std::uint32_t, value); }
[[maybe_unused]] inline float floatOf(std::uint32_t bits) { return __builtin_bit_cast(float, bits); }

[[maybe_unused]] inline float roundToBF16(float value)
{
    const std::uint32_t bits = bitsOf(value);
    return floatOf((bits + 0x7FFFu + ((bits >> 16) & 1u)) & 0xFFFF0000u); // no NaN comes here
}

[[maybe_unused]] inline float roundToF16(float value)
{
    const std::uint32_t bits = bitsOf(value);
    const std::uint32_t magnitude = bits & kMagnitudeBits;
    const std::uint32_t rounded = (magnitude + 0xFFFu + ((magnitude >> 13) & 1u)) & ~0x1FFFu;
    const std::uint32_t normal = static_cast<std::int32_t>(rounded) >= 0x47800000 ? kInfinityBits : rounded; // 65520 and more
    const std::uint32_t small = bitsOf((floatOf(magnitude) + 0.5f) - 0.5f);        // below 2^-14 the last place is 2^-24
    return floatOf((bits & ~kMagnitudeBits) | (static_cast<std::int32_t>(magnitude) < 0x38800000 ? small : normal));
}

template <RoundTo kind>
inline float rounded(float value)
{
    if constexpr (kind == RoundTo::BF16)
        return roundToBF16(value);
    else if constexpr (kind == RoundTo::F16)
        return roundToF16(value);
    else
        return value;
}

[[maybe_unused]] inline float rounded(RoundTo kind, float value)
{
    return kind == RoundTo::BF16 ? roundToBF16(value) : kind == RoundTo::F16 ? roundToF16(value) : value;
}

// Half of the mantissa's steps: adding it and taking it away again rounds to an integer, ties to even; the low bits of the sum are that integer. |value| < 2^22.
constexpr float kIntegerMagic = 12582912.0f;

[[maybe_unused]] inline float nearestInteger(float value) { return (value + kIntegerMagic) - kIntegerMagic; }

// Code of a value within ±448, to nearest even (formats/quantization.md §8.1).
[[maybe_unused]] inline std::uint32_t e4m3Code(float value)
{
    const std::uint32_t bits = bitsOf(value);
    const std::uint32_t magnitude = bits & kMagnitudeBits;
    const std::uint32_t normal = ((magnitude + 0x7FFFFu + ((magnitude >> 20) & 1u)) >> 20) - (120u << 3);
    const std::uint32_t small = bitsOf(floatOf(magnitude) + 16384.0f) - 0x46800000u; // below 2^-6 the last place is 2^-9
    return ((bits >> 24) & 0x80u) | (static_cast<std::int32_t>(magnitude) < 0x3C800000 ? small : normal);
}

[[maybe_unused]] inline float e4m3Value(std::uint32_t code)
{
    const std::uint32_t magnitude = code & 0x7Fu;
    if (magnitude == 0x7Fu)
        return floatOf(0x7FC00000u);
    const float value = magnitude < 8u ? static_cast<float>(magnitude) * 0.001953125f : floatOf((magnitude + (120u << 3)) << 20);
    return (code & 0x80u) != 0 ? -value : value;
}

// FP4: 0, 0.5, 1, 1.5, 2, 3, 4, 6 and their negatives (formats/quantization.md §4.5).
[[maybe_unused]] inline float e2m1Value(std::uint32_t code)
{
    const std::uint32_t magnitude = code & 7u;
    const float value = magnitude < 2 ? 0.5f * static_cast<float>(magnitude) : floatOf((126u + (magnitude >> 1)) << 23 | (magnitude & 1u) << 22);
    return (code & 8u) != 0 ? -value : value;
}

// 2^(code - 127); 255 is infinity here, as torch computes it. 0 gives the subnormal 2^-127.
[[maybe_unused]] inline float e8m0Value(std::uint32_t code) { return floatOf(code == 0 ? 0x00400000u : code << 23); }

} // namespace
} // namespace shardlens
