#include "core/numeric/cast_fast.h"

#include "core/base/endian.h"
#include "core/numeric/kernels/numeric_kernels.h"

#include <algorithm>
#include <array>
#include <cmath>

namespace shardlens {
namespace {

constexpr std::size_t kChunk = 4096; // values that are floats at once

using Narrow = CastLoss (*)(const std::byte* floats, std::byte* target, std::size_t values);

Narrow narrowTo(DType to)
{
    const NumericKernels& kernels = numericKernels();
    switch (to) {
    case DType::BF16: return kernels.toBF16;
    case DType::F16: return kernels.toF16;
    case DType::F8E4M3: return kernels.toE4M3;
    case DType::F8E5M2: return kernels.toE5M2;
    default: return nullptr;
    }
}

bool isByteFloat(DType dtype)
{
    return dtype == DType::F8E4M3 || dtype == DType::F8E5M2;
}

bool canWiden(DType from)
{
    return from == DType::F64 || from == DType::BF16 || from == DType::F16 || isByteFloat(from);
}

template <DType dtype>
const std::array<float, 256>& byteValues()
{
    static const std::array<float, 256> kValues = [] {
        std::array<float, 256> out{};
        for (std::size_t code = 0; code < out.size(); ++code) {
            const auto byte = static_cast<std::byte>(code);
            out[code] = static_cast<float>(toDouble(dtype, &byte));
        }
        return out;
    }();
    return kValues;
}

CastLoss widenBytes(const std::array<float, 256>& values, const std::byte* source, std::byte* target, std::size_t count)
{
    CastLoss out;
    for (std::size_t i = 0; i < count; ++i) {
        const float value = values[static_cast<std::uint8_t>(source[i])];
        storeLe(target + i * sizeof(float), value);
        out.nonFinite += std::isfinite(value) ? 0u : 1u;
    }
    return out;
}

// Floats of what stands there. A double may lose something on the way.
CastLoss widen(DType from, const std::byte* source, std::byte* target, std::size_t values)
{
    const NumericKernels& kernels = numericKernels();
    switch (from) {
    case DType::F64: return kernels.toF32(source, target, values);
    case DType::F8E4M3: return widenBytes(byteValues<DType::F8E4M3>(), source, target, values);
    case DType::F8E5M2: return widenBytes(byteValues<DType::F8E5M2>(), source, target, values);
    default: break;
    }
    const auto wideHalf = from == DType::BF16 ? kernels.widenBF16 : kernels.widenF16;
    if (reinterpret_cast<std::uintptr_t>(target) % alignof(float) == 0)
        return {0, 0, wideHalf(source, reinterpret_cast<float*>(target), values)};
    std::array<float, kChunk> wide;
    const std::uint32_t nonFinite = wideHalf(source, wide.data(), values);
    std::memcpy(target, wide.data(), values * sizeof(float));
    return {0, 0, nonFinite};
}

void toF64(const std::byte* floats, std::byte* target, std::size_t values)
{
    for (std::size_t i = 0; i < values; ++i)
        storeLe(target + i * sizeof(double), static_cast<double>(loadLe<float>(floats + i * sizeof(float))));
}

CastLoss countNonFinite(const std::byte* floats, std::size_t values)
{
    CastLoss out;
    for (std::size_t i = 0; i < values; ++i)
        out.nonFinite += (loadLe32(floats + i * sizeof(float)) & 0x7F800000u) == 0x7F800000u ? 1u : 0u;
    return out;
}

void addTo(CastCounts& counts, const CastLoss& losses)
{
    counts += CastCounts{losses.overflow, losses.underflow, losses.nonFinite};
}

} // namespace

bool castFast(DType from, const std::byte* source, DType to, std::byte* target, std::size_t values, CastCounts& counts)
{
    const Narrow narrow = narrowTo(to);
    const bool isServed = (from == DType::F32 && (narrow != nullptr || to == DType::F64)) || (canWiden(from) && to == DType::F32) ||
                          (from != DType::F64 && canWiden(from) && narrow != nullptr);
    if (!isServed)
        return false;
    alignas(64) std::array<std::byte, kChunk * sizeof(float)> floats;
    const std::size_t sourceCell = info(from).bytesPerBlock;
    const std::size_t targetCell = info(to).bytesPerBlock;
    for (std::size_t at = 0; at < values; at += kChunk) {
        const std::size_t n = std::min(kChunk, values - at);
        const std::byte* const in = source + at * sourceCell;
        std::byte* const out = target + at * targetCell;
        if (to == DType::F32) {
            addTo(counts, widen(from, in, out, n));
        } else if (to == DType::F64) {
            toF64(in, out, n);
            addTo(counts, countNonFinite(in, n));
        } else if (from == DType::F32) {
            addTo(counts, narrow(in, out, n));
        } else {
            (void)widen(from, in, floats.data(), n); // loses nothing: what is not finite is counted once
            addTo(counts, narrow(floats.data(), out, n));
        }
    }
    return true;
}

} // namespace shardlens
