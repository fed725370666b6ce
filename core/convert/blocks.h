#pragma once

#include "core/convert/plan.h"

#include <cstddef>
#include <span>
#include <vector>

namespace shardlens {

// A run of one output file that is read, filled and written as one. No value is cut by its ends.
struct Block {
    std::uint32_t file = 0;
    std::uint64_t begin = 0;
    std::uint64_t end = 0;

    [[nodiscard]] std::uint64_t size() const { return end - begin; }
};

// All files cut into blocks of at most `blockBytes`, in order; without the tensors that computations write.
[[nodiscard]] std::vector<Block> cutIntoBlocks(const Plan& plan, std::uint64_t blockBytes);

// The tensors of a file that have bytes of their own in [begin, end), by offset.
[[nodiscard]] std::span<const PlannedTensor> tensorsIn(const PlannedFile& file, std::uint64_t begin, std::uint64_t end);
[[nodiscard]] std::span<const PlannedRecord> recordsIn(const PlannedFile& file, std::uint64_t begin, std::uint64_t end);
[[nodiscard]] std::span<const PlannedBytes> literalsIn(const PlannedFile& file, std::uint64_t begin, std::uint64_t end);

} // namespace shardlens
