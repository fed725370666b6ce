#include "core/numeric/cast.h"

#include "core/base/endian.h"
#include "core/numeric/cast_fast.h"
#include "core/numeric/small_floats.h"

#include <array>
#include <cmath>
#include <limits>

namespace shardlens {
namespace {

const SmallFloat* smallFormat(DType dtype)
{
    switch (dtype) {
    case DType::F16: return &kFloat16;
    case DType::BF16: return &kBFloat16;
    case DType::F8E5M2: return &kFloat8E5M2;
    case DType::F8E4M3: return &kFloat8E4M3;
    case DType::F8E4M3Fnuz: return &kFloat8E4M3Fnuz;
    case DType::F8E5M2Fnuz: return &kFloat8E5M2Fnuz;
    default: return nullptr;
    }
}

std::uint32_t codeAt(const std::byte* at, std::size_t bytes)
{
    return bytes == 1 ? static_cast<std::uint32_t>(*at) : loadLe16(at);
}

double load(DType dtype, const std::byte* at)
{
    if (dtype == DType::F64)
        return loadLe<double>(at);
    if (dtype == DType::F32)
        return static_cast<double>(loadLe<float>(at));
    if (dtype == DType::F8E8M0)
        return *at == std::byte{0xFF} ? std::nan("") : std::ldexp(1.0, static_cast<int>(*at) - 127);
    return decodeSmall(codeAt(at, info(dtype).bytesPerBlock), *smallFormat(dtype));
}

void store(DType dtype, std::byte* at, double value)
{
    if (dtype == DType::F64) {
        storeLe(at, value);
    } else if (dtype == DType::F32) {
        storeLe(at, static_cast<float>(value));
    } else {
        // torch rounds a double to float first on its way to the small types
        const std::uint32_t code = encodeSmall(static_cast<double>(static_cast<float>(value)), *smallFormat(dtype));
        if (info(dtype).bytesPerBlock == 1)
            *at = static_cast<std::byte>(code);
        else
            storeLe(at, static_cast<std::uint16_t>(code));
    }
}

void count(CastCounts& counts, double before, double after)
{
    if (!std::isfinite(before))
        ++counts.nonFinite;
    else if (!std::isfinite(after))
        ++counts.overflow;
    else if (before != 0 && after == 0)
        ++counts.underflow;
}

CastCounts castOneByOne(DType from, const std::byte* source, DType to, std::byte* target, std::size_t values)
{
    const std::size_t sourceBytes = info(from).bytesPerBlock;
    const std::size_t targetBytes = info(to).bytesPerBlock;
    CastCounts counts;
    for (std::size_t i = 0; i < values; ++i) {
        const double before = load(from, source + i * sourceBytes);
        store(to, target + i * targetBytes, before);
        count(counts, before, load(to, target + i * targetBytes));
    }
    return counts;
}

} // namespace

CastCounts& CastCounts::operator+=(const CastCounts& other)
{
    overflow += other.overflow;
    underflow += other.underflow;
    nonFinite += other.nonFinite;
    return *this;
}

bool canCast(DType from, DType to)
{
    const auto isSource = [](DType dtype) { return dtype == DType::F64 || dtype == DType::F32 || dtype == DType::F8E8M0 || smallFormat(dtype) != nullptr; };
    return isSource(from) && isSource(to) && (to != DType::F8E8M0 || from == DType::F8E8M0);
}

CastCounts castValues(DType from, const std::byte* source, DType to, std::byte* target, std::size_t values)
{
    if (from == to) {
        std::memcpy(target, source, values * info(from).bytesPerBlock);
        return {};
    }
    CastCounts counts;
    if (castFast(from, source, to, target, values, counts))
        return counts;
    return castOneByOne(from, source, to, target, values);
}

double toDouble(DType dtype, const std::byte* at)
{
    switch (dtype) {
    case DType::Bool: return *at == std::byte{0} ? 0 : 1;
    case DType::U8:
    case DType::QU8: return static_cast<double>(static_cast<std::uint8_t>(*at));
    case DType::I8:
    case DType::QI8: return loadLe<std::int8_t>(at);
    case DType::I16: return loadLe<std::int16_t>(at);
    case DType::U16: return loadLe<std::uint16_t>(at);
    case DType::I32:
    case DType::QI32: return loadLe<std::int32_t>(at);
    case DType::U32: return loadLe<std::uint32_t>(at);
    case DType::I64: return static_cast<double>(loadLe<std::int64_t>(at));
    case DType::U64: return static_cast<double>(loadLe<std::uint64_t>(at));
    case DType::C32: return load(DType::F16, at); // the real part
    case DType::C64: return static_cast<double>(loadLe<float>(at));
    case DType::C128: return loadLe<double>(at);
    case DType::F4:
    case DType::F6E2M3:
    case DType::F6E3M2: return std::numeric_limits<double>::quiet_NaN();
    default: return load(dtype, at);
    }
}

} // namespace shardlens
