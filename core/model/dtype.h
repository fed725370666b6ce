#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string_view>

namespace shardlens {

// Element types, named as safetensors names them (formats/safetensors.md §2) and, where it has none, as torch does.
// The order of the enumerators from Bool to U64 is safetensors' rank, which its reference writer sorts by.
enum class DType : std::uint8_t {
    Bool, F4, F6E2M3, F6E3M2, U8, I8, F8E5M2, F8E4M3, F8E8M0, F8E4M3Fnuz, F8E5M2Fnuz,
    I16, U16, F16, BF16, I32, U32, F32, C64, F64, I64, U64,
    C32, C128, QI8, QU8, QI32,
};

enum class DTypeKind : std::uint8_t { Bool, Integer, Float, Complex, Quantized };

struct DTypeInfo {
    DType dtype;
    std::string_view name;      // "BF16", in all JSON
    std::string_view torchName; // "bfloat16"; empty where torch has none
    std::uint8_t valuesPerBlock;
    std::uint8_t bytesPerBlock;
    DTypeKind kind;
    bool inSafetensors;
};

[[nodiscard]] const DTypeInfo& info(DType dtype);
[[nodiscard]] inline std::string_view nameOf(DType dtype) { return info(dtype).name; }
[[nodiscard]] std::span<const DTypeInfo> allDTypes();
// By safetensors name, exact case.
[[nodiscard]] std::optional<DType> dtypeByName(std::string_view name);
// By torch name ("float32", also "float", "half", …).
[[nodiscard]] std::optional<DType> dtypeByTorchName(std::string_view name);
[[nodiscard]] inline bool isComplex(DType dtype) { return info(dtype).kind == DTypeKind::Complex; }
[[nodiscard]] inline bool isFloat(DType dtype) { return info(dtype).kind == DTypeKind::Float; }

// Bytes of `values` values: nullopt where they do not fill whole blocks or the product overflows.
[[nodiscard]] std::optional<std::uint64_t> bytesOf(DType dtype, std::uint64_t values);

} // namespace shardlens
