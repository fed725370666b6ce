#pragma once

#include <array>
#include <cstdint>
#include <string_view>

namespace shardlens {

// The 16 values of bitsandbytes' 4-bit types and how values find them (formats/quantization.md §5.2).
struct QuantBook {
    std::array<float, 16> values; // by code
    std::array<float, 15> bounds; // ascending, halfway between neighbours: code order[n] where n bounds lie below a value
    std::array<std::uint8_t, 16> order;
};

// "nf4" or "fp4".
[[nodiscard]] const QuantBook& quantBook(std::string_view type);

} // namespace shardlens
