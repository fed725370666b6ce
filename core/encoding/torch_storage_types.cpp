#include "core/encoding/torch_storage_types.h"

#include <array>

namespace shardlens {
namespace {

struct StorageClass {
    std::string_view name;
    DType dtype;
};
constexpr std::array<StorageClass, 15> kClasses{{{"FloatStorage", DType::F32}, {"DoubleStorage", DType::F64}, {"HalfStorage", DType::F16},
                                                 {"BFloat16Storage", DType::BF16}, {"LongStorage", DType::I64}, {"IntStorage", DType::I32},
                                                 {"ShortStorage", DType::I16}, {"CharStorage", DType::I8}, {"ByteStorage", DType::U8},
                                                 {"BoolStorage", DType::Bool}, {"ComplexFloatStorage", DType::C64}, {"ComplexDoubleStorage", DType::C128},
                                                 {"QInt8Storage", DType::QI8}, {"QUInt8Storage", DType::QU8}, {"QInt32Storage", DType::QI32}}};

} // namespace

std::optional<DType> dtypeOfStorageClass(std::string_view name)
{
    for (const StorageClass& known : kClasses)
        if (known.name == name)
            return known.dtype;
    return std::nullopt;
}

std::string_view storageClassOf(DType dtype)
{
    for (const StorageClass& known : kClasses)
        if (known.dtype == dtype)
            return known.name;
    return {};
}

bool isUntypedStorageClass(std::string_view name)
{
    return name == "UntypedStorage" || name == "TypedStorage" || name == "_UntypedStorage" || name == "_TypedStorage";
}

} // namespace shardlens
