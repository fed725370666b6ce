#include "core/encoding/mindspore_ckpt.h"

#include <array>

namespace shardlens::mindspore {
namespace {

struct CkptTypeName {
    std::string_view name;
    DType dtype;
    bool isWritten; // what a writer of today calls it, and loaders know
};

constexpr std::array kCkptTypeNames{
    CkptTypeName{"Bool", DType::Bool, true},
    CkptTypeName{"Int8", DType::I8, true},
    CkptTypeName{"UInt8", DType::U8, true},
    CkptTypeName{"Int16", DType::I16, true},
    CkptTypeName{"UInt16", DType::U16, true},
    CkptTypeName{"Float16", DType::F16, true},
    CkptTypeName{"Int32", DType::I32, true},
    CkptTypeName{"UInt32", DType::U32, true},
    CkptTypeName{"Float32", DType::F32, true},
    CkptTypeName{"Int64", DType::I64, true},
    CkptTypeName{"UInt64", DType::U64, true},
    CkptTypeName{"Float64", DType::F64, true},
    CkptTypeName{"BFloat16", DType::BF16, true},
    CkptTypeName{"Int4", DType::I8, false},
    // printed by the type system, in no release's loader
    CkptTypeName{"Complex64", DType::C64, false},
    CkptTypeName{"Complex128", DType::C128, false},
    CkptTypeName{"Float8E4M3FN", DType::F8E4M3, false},
    CkptTypeName{"Float8E5M2", DType::F8E5M2, false},
    // spellings of loaders up to 1.3
    CkptTypeName{"Uint8", DType::U8, false},
    CkptTypeName{"Uint16", DType::U16, false},
    CkptTypeName{"Uint32", DType::U32, false},
    CkptTypeName{"Uint64", DType::U64, false},
    // of map tensors: numpy's
    CkptTypeName{"bool", DType::Bool, false},
    CkptTypeName{"int8", DType::I8, false},
    CkptTypeName{"uint8", DType::U8, false},
    CkptTypeName{"int16", DType::I16, false},
    CkptTypeName{"uint16", DType::U16, false},
    CkptTypeName{"float16", DType::F16, false},
    CkptTypeName{"int32", DType::I32, false},
    CkptTypeName{"uint32", DType::U32, false},
    CkptTypeName{"float32", DType::F32, false},
    CkptTypeName{"int64", DType::I64, false},
    CkptTypeName{"uint64", DType::U64, false},
    CkptTypeName{"float64", DType::F64, false},
    CkptTypeName{"bfloat16", DType::BF16, false},
};

} // namespace

std::string_view ckptTypeName(DType dtype)
{
    for (const CkptTypeName& known : kCkptTypeNames)
        if (known.isWritten && known.dtype == dtype)
            return known.name;
    return {};
}

std::optional<DType> dtypeOfCkptType(std::string_view name)
{
    for (const CkptTypeName& known : kCkptTypeNames)
        if (known.name == name)
            return known.dtype;
    return std::nullopt;
}

} // namespace shardlens::mindspore
