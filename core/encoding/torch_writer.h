#pragma once

#include "core/base/result.h"
#include "core/model/shape.h"

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

namespace shardlens {

// A tensor of a state dict that is to be written: dense, at the start of its own storage.
struct StateDictEntry {
    std::string name;
    DType dtype{};
    Shape shape;               // F4 counts values
    std::size_t storage = 0;   // key of its storage: tied names give the same one. Keys must first appear in ascending order.
};

// data.pkl of a plain dict name → tensor (formats/pytorch.md §8, W1 to W5): protocol 2, loads with weights_only. Dtypes without a storage class use
// _rebuild_tensor_v3. Refused: a dtype that torch has no name for, names that are no UTF-8.
[[nodiscard]] Result<std::vector<std::byte>> stateDictPickle(const std::vector<StateDictEntry>& entries);

// data.pkl of one tensor on storage 0, as an item of a DCP directory holds it (§9.4).
[[nodiscard]] Result<std::vector<std::byte>> tensorPickle(DType dtype, const Shape& shape);
// The same of a view that is not dense: strides in bytes, on a storage of `storageBytes`.
[[nodiscard]] Result<std::vector<std::byte>> tensorPickle(DType dtype, const Shape& shape, std::span<const std::int64_t> strides, std::uint64_t storageBytes);

} // namespace shardlens
