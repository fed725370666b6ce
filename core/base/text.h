#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>

namespace shardlens {

// "602 MiB": 3 significant digits in binary units, plain bytes below 1 KiB.
[[nodiscard]] std::string sizeText(std::uint64_t bytes);
// "94,337,818,624"
[[nodiscard]] std::string groupedText(std::uint64_t number);
// "602 MiB (631,242,752 B)"; below 1 KiB only "512 B".
[[nodiscard]] std::string exactSizeText(std::uint64_t bytes);
// "6.74 B", "1.2 M": a count with 3 significant digits; exact below 10,000.
[[nodiscard]] std::string countText(std::uint64_t count);
// "[4096, 11008]"
[[nodiscard]] std::string shapeText(std::span<const std::uint64_t> shape);
// "2.31 GB/s" (10⁹ bytes); smaller rates in MB/s.
[[nodiscard]] std::string rateText(double bytesPerSecond);
// "38 s", "2 min 11 s", "1 h 4 min"
[[nodiscard]] std::string durationText(double seconds);
// "57.1 %": one digit; never 0 % for something and never 100 % for less than all.
[[nodiscard]] std::string percentText(double fraction);
// "1 tensor", "3 tensors"
[[nodiscard]] std::string plural(std::uint64_t count, std::string_view one, std::string_view many);

// Printable UTF-8: control characters as \n or \x1b, bidirectional marks and invalid bytes escaped. For names from files.
[[nodiscard]] std::string printable(std::string_view text);
// ASCII letters only.
[[nodiscard]] std::string lowerCase(std::string_view text);
// True where `text` is well-formed UTF-8 without surrogates.
[[nodiscard]] bool isUtf8(std::string_view text);

// Orders runs of digits by their number: rank_2 before rank_10. Ties are ordered by bytes.
[[nodiscard]] bool naturalLess(std::string_view a, std::string_view b);

// "512MiB", "5GB", "1.5 GB", "700B": bytes. Powers of 10 for KB…TB, of 2 for KiB…TiB; a unit is required (formats/safetensors.md §5.3).
// Returns 0 for anything else.
[[nodiscard]] std::uint64_t parseSize(std::string_view text);

} // namespace shardlens
