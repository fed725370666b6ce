#pragma once

// No header of its own: compiled once for each instruction set, by the files that include it. SHARDLENS_KERNELS is the name of the table.
#include "core/numeric/kernels/quant_kernels.h"
#include "core/numeric/kernels/scalar_math.h"

namespace shardlens {
namespace {

void widenBF16(const std::byte* source, float* target, std::size_t values)
{
    for (std::size_t i = 0; i < values; ++i) {
        std::uint16_t half = 0;
        __builtin_memcpy(&half, source + 2 * i, 2);
        target[i] = floatOf(static_cast<std::uint32_t>(half) << 16);
    }
}

void widenF16(const std::byte* source, float* target, std::size_t values)
{
    for (std::size_t i = 0; i < values; ++i) {
        std::uint16_t half = 0;
        __builtin_memcpy(&half, source + 2 * i, 2);
        const std::uint32_t sign = static_cast<std::uint32_t>(half & 0x8000u) << 16;
        const float scaled = floatOf(static_cast<std::uint32_t>(half & 0x7FFFu) << 13) * 0x1p+112f; // exact, subnormals too
        const std::uint32_t special = (half & 0x7C00u) == 0x7C00u ? kInfinityBits : 0u;
        target[i] = floatOf(bitsOf(scaled) | special | sign);
    }
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

extern const QuantKernels SHARDLENS_KERNELS;
const QuantKernels SHARDLENS_KERNELS{SHARDLENS_KERNELS_NAME, widenBF16, widenF16, magnitudes, extremes, intCodes, scaledCodes, e4m3Codes,
                                     e2m1Codes, boundCodes, packLowFirst, packHighFirst, intValues, tableValues, roundF16};

} // namespace shardlens
