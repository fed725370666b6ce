#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>

namespace shardlens {

static_assert(std::endian::native == std::endian::little, "payloads are copied as little-endian bytes");

template <typename T>
[[nodiscard]] inline T loadLe(const std::byte* at)
{
    T out{};
    std::memcpy(&out, at, sizeof(T));
    return out;
}

[[nodiscard]] inline std::uint16_t loadLe16(const std::byte* at) { return loadLe<std::uint16_t>(at); }
[[nodiscard]] inline std::uint32_t loadLe32(const std::byte* at) { return loadLe<std::uint32_t>(at); }
[[nodiscard]] inline std::uint64_t loadLe64(const std::byte* at) { return loadLe<std::uint64_t>(at); }

[[nodiscard]] inline std::uint64_t loadBe64(const std::byte* at) { return __builtin_bswap64(loadLe64(at)); }

template <typename T>
inline void storeLe(std::byte* at, T value)
{
    std::memcpy(at, &value, sizeof(T));
}

} // namespace shardlens
