#pragma once

// No header of its own: compiled once for each instruction set, by the files that include it. SHARDLENS_KERNELS is the name of the table.
#include "core/numeric/kernels/numeric_kernels.h"
#include "core/numeric/kernels/scalar_math.h"

#if defined(__F16C__)
#include <immintrin.h>
#endif

namespace shardlens {
namespace {

std::uint32_t widenBF16(const std::byte* source, float* target, std::size_t values)
{
    std::uint32_t nonFinite = 0;
    for (std::size_t i = 0; i < values; ++i) {
        std::uint16_t half = 0;
        __builtin_memcpy(&half, source + 2 * i, 2);
        target[i] = floatOf(static_cast<std::uint32_t>(half) << 16);
        nonFinite += (half & 0x7F80u) == 0x7F80u ? 1u : 0u;
    }
    return nonFinite;
}

std::uint32_t widenF16(const std::byte* source, float* target, std::size_t values)
{
    std::uint32_t nonFinite = 0;
    for (std::size_t i = 0; i < values; ++i) {
        std::uint16_t half = 0;
        __builtin_memcpy(&half, source + 2 * i, 2);
        const std::uint32_t sign = static_cast<std::uint32_t>(half & 0x8000u) << 16;
        const float scaled = floatOf(static_cast<std::uint32_t>(half & 0x7FFFu) << 13) * 0x1p+112f; // exact, subnormals too
        const std::uint32_t special = (half & 0x7C00u) == 0x7C00u ? kInfinityBits : 0u;
        target[i] = floatOf(bitsOf(scaled) | special | sign);
        nonFinite += special != 0 ? 1u : 0u;
    }
    return nonFinite;
}

inline std::uint32_t floatBitsAt(const std::byte* at)
{
    std::uint32_t bits = 0;
    __builtin_memcpy(&bits, at, sizeof(bits));
    return bits;
}

// 1 where a < b, of numbers below 2^31: no comparison, which the compiler would make branches of.
inline std::uint32_t isBelow(std::uint32_t a, std::uint32_t b) { return (a - b) >> 31; }

// Each by itself, so that a vector of them is counted at once.
struct LossCounter {
    std::uint32_t finiteBefore = 0;
    std::uint32_t finiteAfter = 0;
    std::uint32_t zeroBefore = 0;
    std::uint32_t zeroAfter = 0;

    [[nodiscard]] CastLoss losses(std::size_t values) const { return {finiteBefore - finiteAfter, zeroAfter - zeroBefore, static_cast<std::uint32_t>(values) - finiteBefore}; }
};

CastLoss toBF16(const std::byte* floats, std::byte* target, std::size_t values)
{
    LossCounter counts;
    for (std::size_t i = 0; i < values; ++i) {
        const std::uint32_t bits = floatBitsAt(floats + 4 * i);
        const std::uint32_t magnitude = bits & kMagnitudeBits;
        const std::uint32_t rounded = (bits + 0x7FFFu + ((bits >> 16) & 1u)) >> 16;
        const std::uint32_t code = magnitude > kInfinityBits ? ((bits >> 16) | 0x0040u) : rounded;
        const auto half = static_cast<std::uint16_t>(code);
        __builtin_memcpy(target + 2 * i, &half, 2);
        const std::uint32_t small = code & 0x7FFFu;
        counts.finiteBefore += isBelow(magnitude, kInfinityBits);
        counts.finiteAfter += isBelow(small, 0x7F80u);
        counts.zeroBefore += isBelow(magnitude, 1);
        counts.zeroAfter += isBelow(small, 1);
    }
    return counts.losses(values);
}

// The least magnitude that becomes infinite, and the largest that becomes zero.
inline CastLoss countLosses(const std::byte* floats, std::size_t values, std::uint32_t infinite, std::uint32_t zero)
{
    LossCounter counts;
    for (std::size_t i = 0; i < values; ++i) {
        const std::uint32_t magnitude = floatBitsAt(floats + 4 * i) & kMagnitudeBits;
        counts.finiteBefore += isBelow(magnitude, kInfinityBits);
        counts.finiteAfter += isBelow(magnitude, infinite);
        counts.zeroBefore += isBelow(magnitude, 1);
        counts.zeroAfter += isBelow(magnitude, zero + 1);
    }
    return counts.losses(values);
}

inline std::uint16_t halfCode(std::uint32_t bits)
{
    const std::uint32_t magnitude = bits & kMagnitudeBits;
    const std::uint32_t rounded = (magnitude + 0xFFFu + ((magnitude >> 13) & 1u)) >> 13;
    const std::uint32_t normal = magnitude >= 0x477FF000u ? 0x7C00u : rounded - (112u << 10);
    const std::uint32_t small = bitsOf(floatOf(magnitude) + 0.5f) - 0x3F000000u; // below 2^-14 the last place is 2^-24
    const std::uint32_t number = magnitude < 0x38800000u ? small : normal;
    return static_cast<std::uint16_t>((bits >> 16 & 0x8000u) | (magnitude > kInfinityBits ? 0x7E00u | (magnitude >> 13 & 0x3FFu) : number));
}

CastLoss toF16(const std::byte* floats, std::byte* target, std::size_t values)
{
    std::size_t i = 0;
#if defined(__F16C__)
    for (; i + 8 <= values; i += 8) {
        const __m256 wide = _mm256_loadu_ps(reinterpret_cast<const float*>(floats + 4 * i));
        _mm_storeu_si128(reinterpret_cast<__m128i*>(target + 2 * i), _mm256_cvtps_ph(wide, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC));
    }
#endif
    for (; i < values; ++i) {
        const std::uint16_t half = halfCode(floatBitsAt(floats + 4 * i));
        __builtin_memcpy(target + 2 * i, &half, 2);
    }
    return countLosses(floats, values, 0x477FF000u, 0x33000000u); // 65520, 2^-25
}

CastLoss toE4M3(const std::byte* floats, std::byte* target, std::size_t values)
{
    for (std::size_t i = 0; i < values; ++i) {
        const std::uint32_t bits = floatBitsAt(floats + 4 * i);
        const auto magnitude = static_cast<std::int32_t>(bits & kMagnitudeBits);
        const std::uint32_t code = magnitude > 0x43E80000 ? ((bits >> 24) & 0x80u) | 0x7Fu : e4m3Code(floatOf(bits)); // beyond 464
        target[i] = static_cast<std::byte>(code);
    }
    return countLosses(floats, values, 0x43E80001u, 0x3A800000u); // 2^-10 is a tie, to zero
}

CastLoss toE5M2(const std::byte* floats, std::byte* target, std::size_t values)
{
    for (std::size_t i = 0; i < values; ++i) {
        const std::uint32_t bits = floatBitsAt(floats + 4 * i);
        const auto magnitude = static_cast<std::int32_t>(bits & kMagnitudeBits);
        const std::uint32_t normal = ((bits & kMagnitudeBits) + 0xFFFFFu + (((bits & kMagnitudeBits) >> 21) & 1u)) >> 21;
        const std::uint32_t small = bitsOf(floatOf(bits & kMagnitudeBits) + 128.0f) - 0x43000000u; // below 2^-14 the last place is 2^-16
        const std::uint32_t finite = magnitude < 0x38800000 ? small : normal - (112u << 2);
        const std::uint32_t code = magnitude >= 0x47700000 ? 0x7Cu : finite; // 61440 and more
        target[i] = static_cast<std::byte>(((bits >> 24) & 0x80u) | (magnitude > static_cast<std::int32_t>(kInfinityBits) ? 0x7Fu : code));
    }
    return countLosses(floats, values, 0x47700000u, 0x37000000u); // 2^-17 is a tie, to zero
}

CastLoss toF32(const std::byte* doubles, std::byte* target, std::size_t values)
{
    LossCounter counts;
    for (std::size_t i = 0; i < values; ++i) {
        double before = 0;
        __builtin_memcpy(&before, doubles + 8 * i, 8);
        const auto after = static_cast<float>(before);
        __builtin_memcpy(target + 4 * i, &after, 4);
        const std::uint64_t magnitude = __builtin_bit_cast(std::uint64_t, before) & 0x7FFFFFFFFFFFFFFFull;
        const std::uint32_t small = bitsOf(after) & kMagnitudeBits;
        counts.finiteBefore += static_cast<std::uint32_t>((magnitude - 0x7FF0000000000000ull) >> 63);
        counts.finiteAfter += isBelow(small, kInfinityBits);
        counts.zeroBefore += static_cast<std::uint32_t>((magnitude - 1) >> 63);
        counts.zeroAfter += isBelow(small, 1);
    }
    return counts.losses(values);
}

void roundF16(float* values, std::size_t count)
{
    for (std::size_t i = 0; i < count; ++i)
        values[i] = roundToF16(values[i]);
}

// A length that the compiler knows.
template <std::size_t value>
struct Length {
    constexpr operator std::size_t() const { return value; }
};

// Calls `one` with every run; the usual lengths are known to the compiler, which unrolls them.
template <typename One>
inline void eachRun(const ScaleRuns& runs, const One& one)
{
    const auto with = [&](auto length) {
        for (std::size_t run = 0; run < runs.count; ++run)
            one(run, runs.values + run * length, std::size_t{length}, run * length);
    };
    switch (runs.length) {
    case 16: return with(Length<16>{});
    case 32: return with(Length<32>{});
    case 64: return with(Length<64>{});
    case 128: return with(Length<128>{});
    default: return with(runs.length);
    }
}

void magnitudes(const ScaleRuns& runs, std::uint32_t* largest)
{
    eachRun(runs, [&](std::size_t run, const float* values, std::size_t length, std::size_t) {
        std::uint32_t most = largest[run];
        for (std::size_t i = 0; i < length; ++i) {
            const std::uint32_t magnitude = bitsOf(values[i]) & kMagnitudeBits;
            most = magnitude > most ? magnitude : most;
        }
        largest[run] = most;
    });
}

void extremes(const ScaleRuns& runs, std::int32_t* least, std::int32_t* greatest)
{
    eachRun(runs, [&](std::size_t run, const float* values, std::size_t length, std::size_t) {
        std::int32_t low = least[run];
        std::int32_t high = greatest[run];
        for (std::size_t i = 0; i < length; ++i) {
            const auto bits = static_cast<std::int32_t>(bitsOf(values[i]));
            const std::int32_t ordered = bits ^ ((bits >> 31) & 0x7FFFFFFF);
            low = ordered < low ? ordered : low;
            high = ordered > high ? ordered : high;
        }
        least[run] = low;
        greatest[run] = high;
    });
}

inline float clamped(float value, float least, float greatest)
{
    value = value < least ? least : value;
    return value > greatest ? greatest : value;
}

// Calls `make` with the dtype that arithmetic is done in as a constant.
template <typename Make>
inline void inDType(std::uint8_t roundTo, const Make& make)
{
    switch (static_cast<RoundTo>(roundTo)) {
    case RoundTo::F32: return make.template operator()<RoundTo::F32>();
    case RoundTo::BF16: return make.template operator()<RoundTo::BF16>();
    case RoundTo::F16: return make.template operator()<RoundTo::F16>();
    }
}

void intCodes(const ScaleRuns& runs, const CodeRule& rule, std::uint8_t* out)
{
    inDType(rule.roundTo, [&]<RoundTo kind>() {
        eachRun(runs, [&](std::size_t run, const float* values, std::size_t length, std::size_t at) {
            const float scale = rule.scales[run];
            const float zero = rule.zeros == nullptr ? 0.0f : rule.zeros[run];
            for (std::size_t i = 0; i < length; ++i) {
                const float quotient = rounded<kind>(values[i] / scale);
                const float shifted = rounded<kind>(quotient + zero);
                out[at + i] = static_cast<std::uint8_t>(bitsOf(clamped(shifted, rule.least, rule.greatest) + kIntegerMagic));
            }
        });
    });
}

void scaledCodes(const ScaleRuns& runs, const CodeRule& rule, std::uint8_t* out)
{
    eachRun(runs, [&](std::size_t run, const float* values, std::size_t length, std::size_t at) {
        const float scale = rule.scales[run];
        for (std::size_t i = 0; i < length; ++i)
            out[at + i] = static_cast<std::uint8_t>(bitsOf(clamped(values[i] * scale, rule.least, rule.greatest) + kIntegerMagic));
    });
}

void e4m3Codes(const ScaleRuns& runs, const CodeRule& rule, std::uint8_t* out)
{
    inDType(rule.roundTo, [&]<RoundTo kind>() {
        eachRun(runs, [&](std::size_t run, const float* values, std::size_t length, std::size_t at) {
            const float scale = rule.scales[run];
            for (std::size_t i = 0; i < length; ++i) {
                const float quotient = rounded<kind>(values[i] / scale) + 0.0f; // the zero point that symmetric schemes have: -0 becomes 0
                out[at + i] = static_cast<std::uint8_t>(e4m3Code(clamped(quotient, -448.0f, 448.0f)));
            }
        });
    });
}

void e2m1Codes(const ScaleRuns& runs, const CodeRule& rule, std::uint8_t* out)
{
    inDType(rule.roundTo, [&]<RoundTo kind>() {
        eachRun(runs, [&](std::size_t run, const float* values, std::size_t length, std::size_t at) {
            const float scale = rule.scales[run];
            for (std::size_t i = 0; i < length; ++i) {
                const float quotient = rounded<kind>(values[i] / scale);
                const float magnitude = floatOf(bitsOf(quotient) & kMagnitudeBits);
                const std::uint32_t index = (magnitude > 0.25f ? 1u : 0u) + (magnitude >= 0.75f ? 1u : 0u) + (magnitude > 1.25f ? 1u : 0u) + (magnitude >= 1.75f ? 1u : 0u) +
                                            (magnitude > 2.5f ? 1u : 0u) + (magnitude >= 3.5f ? 1u : 0u) + (magnitude > 5.0f ? 1u : 0u);
                out[at + i] = static_cast<std::uint8_t>(index | (quotient < 0.0f ? 8u : 0u));
            }
        });
    });
}

template <bool divide>
inline void countBounds(const ScaleRuns& runs, const float* scales, const float* bounds, std::uint8_t* out)
{
    float bound[15];
    for (std::size_t k = 0; k < 15; ++k)
        bound[k] = bounds[k];
    eachRun(runs, [&](std::size_t run, const float* values, std::size_t length, std::size_t at) {
        const float scale = scales[run];
        for (std::size_t i = 0; i < length; ++i) {
            const float value = divide ? values[i] / scale : values[i] * scale;
            std::uint32_t index = 0;
            for (std::size_t k = 0; k < 15; ++k)
                index += value > bound[k] ? 1u : 0u;
            out[at + i] = static_cast<std::uint8_t>(index);
        }
    });
}

void boundCodes(const ScaleRuns& runs, const float* scales, bool divide, const float* bounds, std::uint8_t* out)
{
    divide ? countBounds<true>(runs, scales, bounds, out) : countBounds<false>(runs, scales, bounds, out);
}

void packLowFirst(const std::uint8_t* codes, std::size_t bytes, std::uint8_t flip, std::uint8_t* out)
{
    for (std::size_t i = 0; i < bytes; ++i) {
        const std::uint32_t low = (codes[2 * i] ^ flip) & 15u;
        const std::uint32_t high = (codes[2 * i + 1] ^ flip) & 15u;
        out[i] = static_cast<std::uint8_t>(low | high << 4);
    }
}

void packHighFirst(const std::uint8_t* codes, std::size_t bytes, std::uint8_t* out)
{
    for (std::size_t i = 0; i < bytes; ++i)
        out[i] = static_cast<std::uint8_t>((codes[2 * i] & 15u) << 4 | (codes[2 * i + 1] & 15u));
}

void intValues(const std::int8_t* codes, std::size_t length, std::size_t count, const CodeRule& rule, float* out)
{
    inDType(rule.roundTo, [&]<RoundTo kind>() {
        for (std::size_t run = 0; run < count; ++run) {
            const float scale = rule.scales[run];
            const float zero = rule.zeros == nullptr ? 0.0f : rule.zeros[run];
            for (std::size_t i = run * length; i < (run + 1) * length; ++i)
                out[i] = rounded<kind>(rounded<kind>(static_cast<float>(codes[i]) - zero) * scale);
        }
    });
}

void tableValues(const std::uint8_t* codes, std::size_t length, std::size_t count, const float* table, const CodeRule& rule, float* out)
{
    inDType(rule.roundTo, [&]<RoundTo kind>() {
        for (std::size_t run = 0; run < count; ++run) {
            const float scale = rule.scales[run];
            for (std::size_t i = run * length; i < (run + 1) * length; ++i)
                out[i] = rounded<kind>(table[codes[i]] * scale);
        }
    });
}

} // namespace

extern const NumericKernels SHARDLENS_KERNELS;
const NumericKernels SHARDLENS_KERNELS{SHARDLENS_KERNELS_NAME, widenBF16, widenF16, toBF16, toF16, toE4M3, toE5M2, toF32, magnitudes, extremes, intCodes, scaledCodes, e4m3Codes,
                                     e2m1Codes, boundCodes, packLowFirst, packHighFirst, intValues, tableValues, roundF16};

} // namespace shardlens
