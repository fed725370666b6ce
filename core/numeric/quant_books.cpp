#include "core/numeric/quant_books.h"

#include <bit>
#include <cstddef>

namespace shardlens {
namespace {

using Bits = std::array<std::uint32_t, 16>;

constexpr Bits kNf4{0xbf800000, 0xbf3239b1, 0xbf066b30, 0xbeca32a0, 0xbe91a24d, 0xbe3d353f, 0xbdba7871, 0x00000000,
                    0x3da2faff, 0x3e24cae3, 0x3e7c04dd, 0x3ead033a, 0x3ee1a4b8, 0x3f1007ab, 0x3f3913b3, 0x3f800000};
constexpr std::array<std::uint8_t, 16> kNf4Order{0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};
constexpr Bits kFp4{0x00000000, 0x3baaaaab, 0x3f2aaaab, 0x3f800000, 0x3eaaaaab, 0x3f000000, 0x3e2aaaab, 0x3e800000,
                    0x00000000, 0xbbaaaaab, 0xbf2aaaab, 0xbf800000, 0xbeaaaaab, 0xbf000000, 0xbe2aaaab, 0xbe800000};
constexpr std::array<std::uint8_t, 16> kFp4Order{11, 10, 13, 12, 15, 14, 9, 0, 8, 1, 6, 7, 4, 5, 2, 3}; // zero comes before its negative twin

constexpr QuantBook bookOf(const Bits& bits, const std::array<std::uint8_t, 16>& order)
{
    QuantBook out{{}, {}, order};
    for (std::size_t i = 0; i < bits.size(); ++i)
        out.values[i] = std::bit_cast<float>(bits[i]);
    for (std::size_t i = 0; i < out.bounds.size(); ++i)
        out.bounds[i] = (out.values[order[i]] + out.values[order[i + 1]]) / 2;
    return out;
}

constexpr QuantBook kNf4Book = bookOf(kNf4, kNf4Order);
constexpr QuantBook kFp4Book = bookOf(kFp4, kFp4Order);

} // namespace

const QuantBook& quantBook(std::string_view type)
{
    return type == "nf4" ? kNf4Book : kFp4Book;
}

} // namespace shardlens
