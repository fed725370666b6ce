#include "core/numeric/decode.h"

#include "core/base/endian.h"
#include "core/numeric/cast.h"
#include "core/numeric/clones.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>
#include <utility>

namespace shardlens {
namespace {

constexpr std::size_t kHalfChunk = 1024; // halves that are widened at once on the stack

template <typename T>
inline void decodePlain(const std::byte* source, double* target, std::size_t values)
{
    for (std::size_t i = 0; i < values; ++i)
        target[i] = static_cast<double>(loadLe<T>(source + i * sizeof(T)));
}

SHARDLENS_CLONES void decodeF32(const std::byte* source, double* target, std::size_t values)
{
    decodePlain<float>(source, target, values);
}

SHARDLENS_CLONES void decodeI32(const std::byte* source, double* target, std::size_t values)
{
    decodePlain<std::int32_t>(source, target, values);
}

SHARDLENS_CLONES void decodeBF16(const std::byte* source, double* target, std::size_t values)
{
    for (std::size_t i = 0; i < values; ++i) {
        const std::uint32_t bits = std::uint32_t{loadLe16(source + 2 * i)} << 16;
        target[i] = static_cast<double>(std::bit_cast<float>(bits));
    }
}

void decodeF16(const std::byte* source, double* target, std::size_t values)
{
    std::array<std::byte, kHalfChunk * sizeof(float)> wide;
    for (std::size_t at = 0; at < values; at += kHalfChunk) {
        const std::size_t n = std::min(kHalfChunk, values - at);
        (void)castValues(DType::F16, source + 2 * at, DType::F32, wide.data(), n);
        decodeF32(wide.data(), target + at, n);
    }
}

// The value of every code of a type with one byte a value.
using ByteTable = std::array<double, 256>;

template <DType dtype>
const ByteTable& byteTable()
{
    static const ByteTable table = [] {
        ByteTable out{};
        for (std::size_t code = 0; code < out.size(); ++code) {
            const auto byte = static_cast<std::byte>(code);
            out[code] = toDouble(dtype, &byte);
        }
        return out;
    }();
    return table;
}

void decodeBytes(const ByteTable& table, const std::byte* source, double* target, std::size_t values)
{
    for (std::size_t i = 0; i < values; ++i)
        target[i] = table[static_cast<std::uint8_t>(source[i])];
}

// OCP microscaling formats: no infinity, no NaN.
double decodeMini(unsigned code, unsigned exponentBits, unsigned mantissaBits)
{
    const int bias = (1 << (exponentBits - 1)) - 1;
    const unsigned mantissa = code & ((1u << mantissaBits) - 1);
    const auto exponent = static_cast<int>((code >> mantissaBits) & ((1u << exponentBits) - 1));
    const double fraction = exponent == 0 ? mantissa : mantissa + (1u << mantissaBits);
    const double value = std::ldexp(fraction, std::max(exponent, 1) - bias - static_cast<int>(mantissaBits));
    return ((code >> (exponentBits + mantissaBits)) & 1u) != 0 ? -value : value;
}

void decodeF4(const std::byte* source, double* target, std::size_t values)
{
    for (std::size_t i = 0; i < values; ++i) {
        const auto both = static_cast<unsigned>(source[i / 2]);
        target[i] = decodeMini(i % 2 == 0 ? both & 15u : both >> 4, 2, 1);
    }
}

void decodeF6(const std::byte* source, double* target, std::size_t values, unsigned exponentBits)
{
    for (std::size_t i = 0; i < values; i += 4) {
        const std::byte* at = source + i / 4 * 3;
        const unsigned four = static_cast<unsigned>(at[0]) | static_cast<unsigned>(at[1]) << 8 | static_cast<unsigned>(at[2]) << 16;
        for (std::size_t k = 0; k < 4; ++k)
            target[i + k] = decodeMini((four >> (6 * k)) & 63u, exponentBits, 5 - exponentBits);
    }
}

} // namespace

void decodeValues(DType dtype, const std::byte* source, double* target, std::size_t values)
{
    switch (dtype) {
    case DType::Bool: return decodeBytes(byteTable<DType::Bool>(), source, target, values);
    case DType::F4: return decodeF4(source, target, values);
    case DType::F6E2M3: return decodeF6(source, target, values, 2);
    case DType::F6E3M2: return decodeF6(source, target, values, 3);
    case DType::U8:
    case DType::QU8: return decodeBytes(byteTable<DType::U8>(), source, target, values);
    case DType::I8:
    case DType::QI8: return decodeBytes(byteTable<DType::I8>(), source, target, values);
    case DType::F8E5M2: return decodeBytes(byteTable<DType::F8E5M2>(), source, target, values);
    case DType::F8E4M3: return decodeBytes(byteTable<DType::F8E4M3>(), source, target, values);
    case DType::F8E8M0: return decodeBytes(byteTable<DType::F8E8M0>(), source, target, values);
    case DType::F8E4M3Fnuz: return decodeBytes(byteTable<DType::F8E4M3Fnuz>(), source, target, values);
    case DType::F8E5M2Fnuz: return decodeBytes(byteTable<DType::F8E5M2Fnuz>(), source, target, values);
    case DType::I16: return decodePlain<std::int16_t>(source, target, values);
    case DType::U16: return decodePlain<std::uint16_t>(source, target, values);
    case DType::F16: return decodeF16(source, target, values);
    case DType::BF16: return decodeBF16(source, target, values);
    case DType::I32:
    case DType::QI32: return decodeI32(source, target, values);
    case DType::U32: return decodePlain<std::uint32_t>(source, target, values);
    case DType::F32: return decodeF32(source, target, values);
    case DType::F64: return decodePlain<double>(source, target, values);
    case DType::I64: return decodePlain<std::int64_t>(source, target, values);
    case DType::U64: return decodePlain<std::uint64_t>(source, target, values);
    case DType::C32: return decodeF16(source, target, 2 * values);
    case DType::C64: return decodeF32(source, target, 2 * values);
    case DType::C128: return decodePlain<double>(source, target, 2 * values);
    }
}

} // namespace shardlens
