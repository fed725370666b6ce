#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

namespace shardlens {

// CRC-32 as zip has it. `before` is the value of the bytes that come first: 0 at the start.
[[nodiscard]] std::uint32_t crc32Of(std::span<const std::byte> bytes, std::uint32_t before = 0);
// CRC-32 of two runs of bytes in a row from the values of each; O(log second).
[[nodiscard]] std::uint32_t crc32Joined(std::uint32_t first, std::uint32_t second, std::uint64_t secondBytes);

} // namespace shardlens
