#include "core/io/checksum.h"

#include <libdeflate.h>
#include <zlib.h>

namespace shardlens {

std::uint32_t crc32Of(std::span<const std::byte> bytes, std::uint32_t before)
{
    return bytes.empty() ? before : libdeflate_crc32(before, bytes.data(), bytes.size()); // without a buffer it would answer 0
}

std::uint32_t crc32Joined(std::uint32_t first, std::uint32_t second, std::uint64_t secondBytes)
{
    return static_cast<std::uint32_t>(crc32_combine64(first, second, static_cast<z_off64_t>(secondBytes)));
}

} // namespace shardlens
