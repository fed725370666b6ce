#include "core/model/dtype.h"

#include "core/base/checked.h"

#include <array>

namespace shardlens {
namespace {

using enum DTypeKind;

constexpr std::array<DTypeInfo, 27> kDTypes{{
    {DType::Bool, "BOOL", "bool", 1, 1, Bool, true},
    {DType::F4, "F4", "float4_e2m1fn_x2", 2, 1, Float, true},
    {DType::F6E2M3, "F6_E2M3", "", 4, 3, Float, true},
    {DType::F6E3M2, "F6_E3M2", "", 4, 3, Float, true},
    {DType::U8, "U8", "uint8", 1, 1, Integer, true},
    {DType::I8, "I8", "int8", 1, 1, Integer, true},
    {DType::F8E5M2, "F8_E5M2", "float8_e5m2", 1, 1, Float, true},
    {DType::F8E4M3, "F8_E4M3", "float8_e4m3fn", 1, 1, Float, true},
    {DType::F8E8M0, "F8_E8M0", "float8_e8m0fnu", 1, 1, Float, true},
    {DType::F8E4M3Fnuz, "F8_E4M3FNUZ", "float8_e4m3fnuz", 1, 1, Float, true},
    {DType::F8E5M2Fnuz, "F8_E5M2FNUZ", "float8_e5m2fnuz", 1, 1, Float, true},
    {DType::I16, "I16", "int16", 1, 2, Integer, true},
    {DType::U16, "U16", "uint16", 1, 2, Integer, true},
    {DType::F16, "F16", "float16", 1, 2, Float, true},
    {DType::BF16, "BF16", "bfloat16", 1, 2, Float, true},
    {DType::I32, "I32", "int32", 1, 4, Integer, true},
    {DType::U32, "U32", "uint32", 1, 4, Integer, true},
    {DType::F32, "F32", "float32", 1, 4, Float, true},
    {DType::C64, "C64", "complex64", 1, 8, Complex, true},
    {DType::F64, "F64", "float64", 1, 8, Float, true},
    {DType::I64, "I64", "int64", 1, 8, Integer, true},
    {DType::U64, "U64", "uint64", 1, 8, Integer, true},
    {DType::C32, "C32", "complex32", 1, 4, Complex, false},
    {DType::C128, "C128", "complex128", 1, 16, Complex, false},
    {DType::QI8, "QI8", "qint8", 1, 1, Quantized, false},
    {DType::QU8, "QU8", "quint8", 1, 1, Quantized, false},
    {DType::QI32, "QI32", "qint32", 1, 4, Quantized, false},
}};

struct TorchAlias {
    std::string_view alias;
    DType dtype;
};
// formats/pytorch.md §3.3: other spellings of the same objects
constexpr std::array<TorchAlias, 9> kTorchAliases{{{"float", DType::F32}, {"half", DType::F16}, {"double", DType::F64},
                                                   {"long", DType::I64}, {"int", DType::I32}, {"short", DType::I16},
                                                   {"cfloat", DType::C64}, {"cdouble", DType::C128}, {"chalf", DType::C32}}};

} // namespace

const DTypeInfo& info(DType dtype)
{
    return kDTypes[static_cast<std::size_t>(dtype)];
}

std::span<const DTypeInfo> allDTypes()
{
    return kDTypes;
}

std::optional<DType> dtypeByName(std::string_view name)
{
    for (const DTypeInfo& known : kDTypes)
        if (known.name == name)
            return known.dtype;
    return std::nullopt;
}

std::optional<DType> dtypeByTorchName(std::string_view name)
{
    if (name.empty())
        return std::nullopt;
    for (const DTypeInfo& known : kDTypes)
        if (known.torchName == name)
            return known.dtype;
    for (const TorchAlias& known : kTorchAliases)
        if (known.alias == name)
            return known.dtype;
    return std::nullopt;
}

std::optional<std::uint64_t> bytesOf(DType dtype, std::uint64_t values)
{
    const DTypeInfo& known = info(dtype);
    if (values % known.valuesPerBlock != 0)
        return std::nullopt;
    return checkedMul(values / known.valuesPerBlock, known.bytesPerBlock);
}

} // namespace shardlens
