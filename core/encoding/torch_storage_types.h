#pragma once

#include "core/model/dtype.h"

#include <optional>
#include <string_view>

namespace shardlens {

// "FloatStorage" → F32 (formats/pytorch.md §3.3), whatever its module; nullopt for untyped storages and unknown names.
[[nodiscard]] std::optional<DType> dtypeOfStorageClass(std::string_view name);
// The class that holds a dtype; empty where it is stored untyped and rebuilt by _rebuild_tensor_v3.
[[nodiscard]] std::string_view storageClassOf(DType dtype);
// UntypedStorage, TypedStorage: the rebuild call tells the dtype.
[[nodiscard]] bool isUntypedStorageClass(std::string_view name);

} // namespace shardlens
