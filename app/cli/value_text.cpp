#include "app/cli/value_text.h"

#include "core/base/endian.h"
#include "core/numeric/cast.h"

#include <fmt/format.h>

#include <cmath>

namespace shardlens::cli {
namespace {

template <typename T>
std::string floatText(T value, bool exact)
{
    if (std::isnan(value))
        return "nan";
    return exact ? fmt::format("{}", value) : fmt::format("{:.7g}", value);
}

template <typename T>
std::string complexText(const std::byte* at, bool exact)
{
    const T imaginary = loadLe<T>(at + sizeof(T));
    const std::string sign = std::signbit(imaginary) ? "" : "+";
    return floatText(loadLe<T>(at), exact) + sign + floatText(imaginary, exact) + "j";
}

} // namespace

std::string valueText(DType dtype, const std::byte* at, bool exact)
{
    switch (dtype) {
    case DType::Bool: return loadLe<std::uint8_t>(at) != 0 ? "true" : "false";
    case DType::U8:
    case DType::QU8: return std::to_string(loadLe<std::uint8_t>(at));
    case DType::I8:
    case DType::QI8: return std::to_string(loadLe<std::int8_t>(at));
    case DType::I16: return std::to_string(loadLe<std::int16_t>(at));
    case DType::U16: return std::to_string(loadLe<std::uint16_t>(at));
    case DType::I32:
    case DType::QI32: return std::to_string(loadLe<std::int32_t>(at));
    case DType::U32: return std::to_string(loadLe<std::uint32_t>(at));
    case DType::I64: return std::to_string(loadLe<std::int64_t>(at));
    case DType::U64: return std::to_string(loadLe<std::uint64_t>(at));
    case DType::F32: return floatText(loadLe<float>(at), exact);
    case DType::F64: return floatText(loadLe<double>(at), exact);
    case DType::C64: return complexText<float>(at, exact);
    case DType::C128: return complexText<double>(at, exact);
    case DType::C32: {
        const auto imaginary = static_cast<float>(toDouble(DType::F16, at + 2));
        return floatText(static_cast<float>(toDouble(DType::F16, at)), exact) + (std::signbit(imaginary) ? "" : "+") +
               floatText(imaginary, exact) + "j";
    }
    case DType::F16:
    case DType::BF16:
    case DType::F8E5M2:
    case DType::F8E4M3:
    case DType::F8E8M0:
    case DType::F8E4M3Fnuz:
    case DType::F8E5M2Fnuz: return floatText(static_cast<float>(toDouble(dtype, at)), exact);
    case DType::F4:
    case DType::F6E2M3:
    case DType::F6E3M2: break;
    }
    return "?";
}

NumpyType numpyType(DType dtype)
{
    switch (dtype) {
    case DType::Bool: return {"|b1", 1, false};
    case DType::U8:
    case DType::QU8: return {"|u1", 1, false};
    case DType::I8:
    case DType::QI8: return {"|i1", 1, false};
    case DType::I16: return {"<i2", 2, false};
    case DType::U16: return {"<u2", 2, false};
    case DType::F16: return {"<f2", 2, false};
    case DType::I32:
    case DType::QI32: return {"<i4", 4, false};
    case DType::U32: return {"<u4", 4, false};
    case DType::F32: return {"<f4", 4, false};
    case DType::I64: return {"<i8", 8, false};
    case DType::U64: return {"<u8", 8, false};
    case DType::F64: return {"<f8", 8, false};
    case DType::C64: return {"<c8", 8, false};
    case DType::C128: return {"<c16", 16, false};
    case DType::C32: return {"<c8", 8, true};
    case DType::BF16:
    case DType::F8E5M2:
    case DType::F8E4M3:
    case DType::F8E8M0:
    case DType::F8E4M3Fnuz:
    case DType::F8E5M2Fnuz:
    case DType::F4:
    case DType::F6E2M3:
    case DType::F6E3M2: break;
    }
    return {"<f4", 4, true};
}

std::vector<std::byte> numpyBytes(DType dtype, std::span<const std::byte> values)
{
    if (!numpyType(dtype).widened)
        return {values.begin(), values.end()};
    const DType part = dtype == DType::C32 ? DType::F16 : dtype;
    const std::size_t step = info(part).bytesPerBlock;
    std::vector<std::byte> out(values.size() / step * sizeof(float));
    for (std::size_t i = 0; i < values.size() / step; ++i)
        storeLe(out.data() + i * sizeof(float), static_cast<float>(toDouble(part, values.data() + i * step)));
    return out;
}

std::string numpyHeader(DType dtype, std::span<const std::uint64_t> shape)
{
    std::string header = fmt::format("{{'descr': '{}', 'fortran_order': False, 'shape': (", numpyType(dtype).descriptor);
    for (const std::uint64_t extent : shape)
        header += fmt::format("{}, ", extent);
    header += "), }";
    constexpr std::size_t kPrefix = 10; // magic, version, length
    constexpr std::size_t kAlignment = 64;
    header.resize((kPrefix + header.size() + 1 + kAlignment - 1) / kAlignment * kAlignment - kPrefix - 1, ' ');
    header += '\n';
    const auto length = static_cast<std::uint16_t>(header.size()); // at most a few thousand: ranks are bounded by the readers
    std::string out("\x93NUMPY\x01\x00", 8);
    out += static_cast<char>(length & 0xFF);
    out += static_cast<char>(length >> 8);
    return out + header;
}

} // namespace shardlens::cli
