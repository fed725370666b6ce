#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace shardlens::mindspore {

// A string as .ckpt files store it (formats/mindspore.md §2.7): little-endian UTF-32, NULs at its end dropped. Nothing where the bytes are none: no whole
// code points, a surrogate, a number past U+10FFFF.
[[nodiscard]] std::optional<std::string> utf8OfUtf32(std::span<const std::byte> bytes);
// The other way; the empty string is one NUL. Precondition: `text` is UTF-8.
[[nodiscard]] std::vector<std::byte> utf32OfUtf8(std::string_view text);

} // namespace shardlens::mindspore
