#include "core/numeric/cast_fast.h"

#include "core/numeric/clones.h"

#include <cstring>

#if defined(__x86_64__)
#include <cpuid.h>
#include <immintrin.h>
#endif

namespace shardlens {
namespace {

constexpr std::size_t kChunk = 4096; // values whose counts are kept in 32 bits

struct Counts32 {
    std::uint32_t overflow = 0;
    std::uint32_t underflow = 0;
    std::uint32_t nonFinite = 0;
};

std::uint32_t bitsAt(const std::byte* at)
{
    std::uint32_t bits = 0;
    std::memcpy(&bits, at, 4);
    return bits;
}

SHARDLENS_CLONES Counts32 floatToBFloat(const std::byte* source, std::byte* target, std::size_t values)
{
    Counts32 counts;
    for (std::size_t i = 0; i < values; ++i) {
        std::uint32_t bits = 0;
        std::memcpy(&bits, source + 4 * i, 4);
        const std::uint32_t magnitude = bits & 0x7FFFFFFFu;
        const std::uint32_t rounded = (bits + 0x7FFFu + ((bits >> 16) & 1u)) >> 16;
        const bool isNan = magnitude > 0x7F800000u;
        const std::uint32_t code = isNan ? ((bits >> 16) | 0x0040u) : rounded;
        const auto half = static_cast<std::uint16_t>(code);
        std::memcpy(target + 2 * i, &half, 2);
        const std::uint32_t small = code & 0x7FFFu;
        const bool finite = magnitude < 0x7F800000u;
        counts.nonFinite += finite ? 0u : 1u;
        counts.overflow += finite && small >= 0x7F80u ? 1u : 0u;
        counts.underflow += magnitude != 0 && small == 0 ? 1u : 0u;
    }
    return counts;
}

SHARDLENS_CLONES Counts32 countFloatToHalf(const std::byte* source, std::size_t values)
{
    // The least magnitude that rounds to infinity is 65520; the largest that rounds to zero is 2^-25.
    Counts32 counts;
    for (std::size_t i = 0; i < values; ++i) {
        std::uint32_t bits = 0;
        std::memcpy(&bits, source + 4 * i, 4);
        const std::uint32_t magnitude = bits & 0x7FFFFFFFu;
        const bool finite = magnitude < 0x7F800000u;
        counts.nonFinite += finite ? 0u : 1u;
        counts.overflow += finite && magnitude >= 0x477FF000u ? 1u : 0u;
        counts.underflow += magnitude != 0 && magnitude <= 0x33000000u ? 1u : 0u;
    }
    return counts;
}

SHARDLENS_CLONES std::uint32_t bfloatToFloat(const std::byte* source, std::byte* target, std::size_t values)
{
    std::uint32_t nonFinite = 0;
    for (std::size_t i = 0; i < values; ++i) {
        std::uint16_t half = 0;
        std::memcpy(&half, source + 2 * i, 2);
        const std::uint32_t bits = static_cast<std::uint32_t>(half) << 16;
        std::memcpy(target + 4 * i, &bits, 4);
        nonFinite += (half & 0x7F80u) == 0x7F80u ? 1u : 0u;
    }
    return nonFinite;
}

#if defined(__x86_64__)

bool hasHalfConversion()
{
    static const bool has = [] {
        unsigned a = 0;
        unsigned b = 0;
        unsigned c = 0;
        unsigned d = 0;
        // not every compiler's __builtin_cpu_supports knows "f16c"
        return __builtin_cpu_supports("avx2") && __get_cpuid(1, &a, &b, &c, &d) != 0 && (c & bit_F16C) != 0;
    }();
    return has;
}

__attribute__((target("avx2,f16c"))) void floatToHalf(const std::byte* source, std::byte* target, std::size_t values)
{
    std::size_t i = 0;
    for (; i + 8 <= values; i += 8) {
        const __m256 wide = _mm256_loadu_ps(reinterpret_cast<const float*>(source + 4 * i));
        _mm_storeu_si128(reinterpret_cast<__m128i*>(target + 2 * i), _mm256_cvtps_ph(wide, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC));
    }
    for (; i < values; ++i) {
        const __m128i half = _mm_cvtps_ph(_mm_castsi128_ps(_mm_cvtsi32_si128(static_cast<int>(bitsAt(source + 4 * i)))), _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
        const auto code = static_cast<std::uint16_t>(_mm_extract_epi16(half, 0));
        std::memcpy(target + 2 * i, &code, 2);
    }
}

__attribute__((target("avx2,f16c"))) std::uint32_t halfToFloat(const std::byte* source, std::byte* target, std::size_t values)
{
    std::uint32_t nonFinite = 0;
    for (std::size_t i = 0; i < values; ++i) {
        std::uint16_t half = 0;
        std::memcpy(&half, source + 2 * i, 2);
        nonFinite += (half & 0x7C00u) == 0x7C00u ? 1u : 0u;
    }
    std::size_t i = 0;
    for (; i + 8 <= values; i += 8)
        _mm256_storeu_ps(reinterpret_cast<float*>(target + 4 * i), _mm256_cvtph_ps(_mm_loadu_si128(reinterpret_cast<const __m128i*>(source + 2 * i))));
    for (; i < values; ++i) {
        std::uint16_t half = 0;
        std::memcpy(&half, source + 2 * i, 2);
        const float wide = _mm_cvtss_f32(_mm_cvtph_ps(_mm_cvtsi32_si128(half)));
        std::memcpy(target + 4 * i, &wide, 4);
    }
    return nonFinite;
}

#else

bool hasHalfConversion() { return false; }
void floatToHalf(const std::byte*, std::byte*, std::size_t) {}
std::uint32_t halfToFloat(const std::byte*, std::byte*, std::size_t) { return 0; }

#endif

} // namespace

bool castFast(DType from, const std::byte* source, DType to, std::byte* target, std::size_t values, CastCounts& counts)
{
    const bool narrowing = from == DType::F32 && (to == DType::BF16 || (to == DType::F16 && hasHalfConversion()));
    const bool widening = to == DType::F32 && (from == DType::BF16 || (from == DType::F16 && hasHalfConversion()));
    if (!narrowing && !widening)
        return false;
    for (std::size_t at = 0; at < values; at += kChunk) {
        const std::size_t n = values - at < kChunk ? values - at : kChunk;
        const std::byte* in = source + at * (narrowing ? 4 : 2);
        std::byte* out = target + at * (narrowing ? 2 : 4);
        Counts32 found;
        if (to == DType::BF16) {
            found = floatToBFloat(in, out, n);
        } else if (to == DType::F16) {
            found = countFloatToHalf(in, n);
            floatToHalf(in, out, n);
        } else {
            found.nonFinite = from == DType::BF16 ? bfloatToFloat(in, out, n) : halfToFloat(in, out, n);
        }
        counts += CastCounts{found.overflow, found.underflow, found.nonFinite};
    }
    return true;
}

} // namespace shardlens
