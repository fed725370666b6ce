#pragma once

#include "core/model/checkpoint.h"

#include <cstdint>
#include <string>
#include <vector>

namespace shardlens::cli {

// All tensors of one role and dtype together; parts of quantized weights by themselves.
struct RoleUse {
    std::string role;
    bool quantized = false; // codes and scales: their values are no weights
    DType dtype{};
    std::uint64_t tensors = 0;
    std::uint64_t values = 0;     // that the tensors need
    std::uint64_t heldValues = 0; // in pieces that can be read; more than `values` where replicas are
    std::uint64_t bytes = 0;      // of `values`
    std::uint64_t pieces = 0;
};

struct FileUse {
    std::uint64_t tensorBytes = 0;
    std::uint64_t paddingBytes = 0;
    std::uint64_t headerBytes = 0;
};

// What a checkpoint is made of, counted in one pass over its pieces.
struct Inventory {
    std::vector<RoleUse> roles; // in the order in which they first occur
    std::vector<FileUse> files; // as Checkpoint::files()
};
[[nodiscard]] Inventory inventoryOf(const Checkpoint& checkpoint);

} // namespace shardlens::cli
