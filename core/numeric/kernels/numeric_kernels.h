#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

namespace shardlens {

// Values in runs of one scale each: `count` runs of `length` values, one behind the other.
struct ScaleRuns {
    const float* values;
    std::size_t length;
    std::size_t count;
};

// How codes are made of a run's values: code = nearest(clamp(round(value / scale) + zero)), every result rounded as the weight's dtype does.
struct CodeRule {
    const float* scales;           // one a run
    const float* zeros = nullptr;  // one a run, or none
    std::uint8_t roundTo = 0;      // RoundTo of scalar_math.h
    float least = 0;               // codes' range, of integers
    float greatest = 0;
};

// What a cast lost: CastCounts of core/numeric/cast.h, small enough for the lanes of a vector.
struct CastLoss {
    std::uint32_t overflow = 0;
    std::uint32_t underflow = 0;
    std::uint32_t nonFinite = 0;
};

// The inner loops of casts and quantization, once for every instruction set (formats/quantization.md; all give the same bits). What is quantized is finite.
struct NumericKernels {
    const char* name; // "avx2"

    // To floats; how many are NaN or infinite.
    std::uint32_t (*widenBF16)(const std::byte* source, float* target, std::size_t values);
    std::uint32_t (*widenF16)(const std::byte* source, float* target, std::size_t values);
    // To nearest even, as torch casts (core/numeric/cast.h); at most 2^31 values. `source` may lie anywhere.
    CastLoss (*toBF16)(const std::byte* floats, std::byte* target, std::size_t values);
    CastLoss (*toF16)(const std::byte* floats, std::byte* target, std::size_t values);
    CastLoss (*toE4M3)(const std::byte* floats, std::byte* target, std::size_t values);
    CastLoss (*toE5M2)(const std::byte* floats, std::byte* target, std::size_t values);
    CastLoss (*toF32)(const std::byte* doubles, std::byte* target, std::size_t values);
    // Largest magnitude of each run, as the bits of a float, where it is larger than what stands there. NaN and infinity are the largest.
    void (*magnitudes)(const ScaleRuns& runs, std::uint32_t* largest);
    // Least and greatest value of each run, where they go beyond what stands there, as integers in the order of the values (orderedBits()).
    void (*extremes)(const ScaleRuns& runs, std::int32_t* least, std::int32_t* greatest);

    void (*intCodes)(const ScaleRuns& runs, const CodeRule& rule, std::uint8_t* out);   // two's complement, a byte each
    void (*scaledCodes)(const ScaleRuns& runs, const CodeRule& rule, std::uint8_t* out); // the same of value · scale
    void (*e4m3Codes)(const ScaleRuns& runs, const CodeRule& rule, std::uint8_t* out);
    void (*e2m1Codes)(const ScaleRuns& runs, const CodeRule& rule, std::uint8_t* out);   // a byte each
    // How many of 15 ascending bounds lie below value · scale (`divide`: value / scale).
    void (*boundCodes)(const ScaleRuns& runs, const float* scales, bool divide, const float* bounds, std::uint8_t* out);
    // Two codes a byte: the first in the low half, or in the high one. `flip` is added to every half without carry.
    void (*packLowFirst)(const std::uint8_t* codes, std::size_t bytes, std::uint8_t flip, std::uint8_t* out);
    void (*packHighFirst)(const std::uint8_t* codes, std::size_t bytes, std::uint8_t* out);

    // value = (code - zero) · scale of signed bytes, rounded after each step.
    void (*intValues)(const std::int8_t* codes, std::size_t length, std::size_t count, const CodeRule& rule, float* out);
    // value = table[code] · scale, rounded: of codes of a byte.
    void (*tableValues)(const std::uint8_t* codes, std::size_t length, std::size_t count, const float* table, const CodeRule& rule, float* out);
    // Every value rounded to F16, in place; beyond its range infinity.
    void (*roundF16)(float* values, std::size_t count);
};

// A float's bits as an integer that is in the order of the values.
[[nodiscard]] constexpr std::int32_t orderedBits(std::uint32_t bits)
{
    return static_cast<std::int32_t>(bits ^ ((bits >> 31) != 0 ? 0x7FFFFFFFu : 0u));
}
[[nodiscard]] constexpr std::uint32_t bitsOfOrdered(std::int32_t ordered)
{
    const auto bits = static_cast<std::uint32_t>(ordered);
    return bits ^ (ordered < 0 ? 0x7FFFFFFFu : 0u);
}

// Those that this processor can run: the plain ones first, the fastest last.
[[nodiscard]] std::span<const NumericKernels* const> usableNumericKernels();
// The fastest.
[[nodiscard]] const NumericKernels& numericKernels();

} // namespace shardlens
