#include "core/numeric/cast_fast.h"

#include "core/base/endian.h"

#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <random>
#include <span>
#include <vector>

namespace shardlens {
namespace {

struct Cast {
    std::vector<std::byte> values;
    CastCounts counts;
};

// F64 is served by the plain loop on both ways, and holds every value of the others.
Cast plain(DType from, const std::vector<std::byte>& source, DType to)
{
    const std::size_t count = source.size() / info(from).bytesPerBlock;
    std::vector<std::byte> wide(count * 8);
    castValues(from, source.data(), DType::F64, wide.data(), count);
    Cast out{std::vector<std::byte>(count * info(to).bytesPerBlock), {}};
    out.counts = castValues(DType::F64, wide.data(), to, out.values.data(), count);
    return out;
}

Cast direct(DType from, const std::vector<std::byte>& source, DType to)
{
    const std::size_t count = source.size() / info(from).bytesPerBlock;
    Cast out{std::vector<std::byte>(count * info(to).bytesPerBlock), {}};
    out.counts = castValues(from, source.data(), to, out.values.data(), count);
    return out;
}

void expectSame(DType from, const std::vector<std::byte>& source, DType to)
{
    const Cast fast = direct(from, source, to);
    const Cast slow = plain(from, source, to);
    const std::size_t cell = info(to).bytesPerBlock;
    for (std::size_t at = 0; at < fast.values.size(); at += cell) {
        const bool bothNan = std::isnan(toDouble(to, fast.values.data() + at)) && std::isnan(toDouble(to, slow.values.data() + at));
        const bool equal = std::equal(fast.values.begin() + static_cast<std::ptrdiff_t>(at), fast.values.begin() + static_cast<std::ptrdiff_t>(at + cell),
                                      slow.values.begin() + static_cast<std::ptrdiff_t>(at));
        ASSERT_TRUE(equal || bothNan) << nameOf(from) << " to " << nameOf(to) << ", value " << at / cell << " of " << toDouble(from, source.data() + at / cell * info(from).bytesPerBlock);
    }
    EXPECT_EQ(fast.counts.overflow, slow.counts.overflow);
    EXPECT_EQ(fast.counts.underflow, slow.counts.underflow);
    EXPECT_EQ(fast.counts.nonFinite, slow.counts.nonFinite);
}

std::vector<std::byte> asBytes(const std::vector<std::uint32_t>& numbers)
{
    const std::span<const std::byte> bytes = std::as_bytes(std::span(numbers));
    return {bytes.begin(), bytes.end()};
}

// Every half there is, as 16 bits.
std::vector<std::byte> allHalves()
{
    std::vector<std::byte> out;
    for (std::uint32_t code = 0; code < 0x10000; ++code) {
        out.push_back(static_cast<std::byte>(code & 0xFF));
        out.push_back(static_cast<std::byte>(code >> 8));
    }
    return out;
}

class CastFast : public ::testing::TestWithParam<DType> {}; // the small type

TEST_P(CastFast, WidensEveryCodeAsThePlainLoopDoes)
{
    expectSame(GetParam(), allHalves(), DType::F32);
}

TEST_P(CastFast, NarrowsWhatWasWidenedBackToTheSameCode)
{
    const std::vector<std::byte> halves = allHalves();
    const Cast back = direct(DType::F32, direct(GetParam(), halves, DType::F32).values, GetParam());
    for (std::size_t at = 0; at < halves.size(); at += 2)
        ASSERT_TRUE(loadLe16(back.values.data() + at) == loadLe16(halves.data() + at) || std::isnan(toDouble(GetParam(), halves.data() + at))) << at / 2;
    EXPECT_EQ(back.counts.overflow + back.counts.underflow, 0u);
}

TEST_P(CastFast, NarrowsRandomBitsAsThePlainLoopDoes)
{
    std::mt19937 random(11);
    std::vector<std::uint32_t> bits(1u << 18);
    for (std::uint32_t& one : bits)
        one = static_cast<std::uint32_t>(random());
    expectSame(DType::F32, asBytes(bits), GetParam());
}

TEST_P(CastFast, NarrowsEveryTieAndItsNeighboursAsThePlainLoopDoes)
{
    std::vector<std::uint32_t> bits;
    for (std::uint32_t code = 0; code < 0x10000; ++code) {
        const std::uint16_t half = static_cast<std::uint16_t>(code);
        float value = 0;
        castValues(GetParam(), reinterpret_cast<const std::byte*>(&half), DType::F32, reinterpret_cast<std::byte*>(&value), 1);
        const std::uint32_t tie = std::bit_cast<std::uint32_t>(value) + (GetParam() == DType::F16 ? 0x1000u : 0x8000u); // half of the last place of normal codes
        bits.insert(bits.end(), {tie - 1, tie, tie + 1});
    }
    for (const std::uint32_t edge : {0x477FE000u, 0x477FEFFFu, 0x477FF000u, 0x33000000u, 0x33000001u, 0x32FFFFFFu, 0x7F7F7FFFu, 0x7F7F8000u, 0x7F800000u, 0x00007FFFu, 0x00008000u, 0x00008001u})
        bits.insert(bits.end(), {edge, edge | 0x80000000u});
    expectSame(DType::F32, asBytes(bits), GetParam());
}

TEST_P(CastFast, LeavesNothingOutAtAnyLength)
{
    for (const std::size_t count : {0u, 1u, 7u, 8u, 9u, 31u, 4095u, 4096u, 4097u, 8200u}) {
        std::vector<std::uint32_t> bits(count);
        for (std::size_t i = 0; i < count; ++i)
            bits[i] = std::bit_cast<std::uint32_t>(static_cast<float>(i) * 9.37f); // halves overflow at the end
        expectSame(DType::F32, asBytes(bits), GetParam());
        const std::vector<std::byte> halves = allHalves();
        expectSame(GetParam(), {halves.begin(), halves.begin() + static_cast<std::ptrdiff_t>(2 * count)}, DType::F32);
    }
}

INSTANTIATE_TEST_SUITE_P(All, CastFast, testing::Values(DType::F16, DType::BF16), [](const auto& row) { return std::string(nameOf(row.param)); });

TEST(CastFastPath, LeavesOtherPairsAlone)
{
    const float value = 1;
    std::byte target{0x55};
    CastCounts counts;
    EXPECT_FALSE(castFast(DType::F32, reinterpret_cast<const std::byte*>(&value), DType::F8E4M3Fnuz, &target, 1, counts));
    EXPECT_EQ(target, std::byte{0x55});
}

// Every code of the small types, and floats around every code of them.
TEST(CastFastPath, AllPairsGiveWhatThePlainLoopDoes)
{
    std::vector<std::byte> bytes(256);
    for (std::size_t code = 0; code < bytes.size(); ++code)
        bytes[code] = static_cast<std::byte>(code);
    std::vector<std::uint32_t> floats;
    for (const DType dtype : {DType::F16, DType::BF16, DType::F8E4M3, DType::F8E5M2}) {
        const std::vector<std::byte> codes = info(dtype).bytesPerBlock == 1 ? bytes : allHalves();
        std::vector<float> values(codes.size() / info(dtype).bytesPerBlock);
        castValues(dtype, codes.data(), DType::F32, reinterpret_cast<std::byte*>(values.data()), values.size());
        for (std::size_t i = 0; i < values.size(); ++i) {
            const float next = i + 1 < values.size() ? values[i + 1] : 0;
            for (const float value : {values[i], (values[i] + next) / 2, std::nextafter((values[i] + next) / 2, HUGE_VALF), std::nextafter(values[i], 0.0f)})
                floats.push_back(std::bit_cast<std::uint32_t>(value));
        }
    }
    for (const DType to : {DType::BF16, DType::F16, DType::F8E4M3, DType::F8E5M2}) {
        expectSame(DType::F32, asBytes(floats), to);
        for (const DType from : {DType::BF16, DType::F16, DType::F8E4M3, DType::F8E5M2})
            if (from != to)
                expectSame(from, info(from).bytesPerBlock == 1 ? bytes : allHalves(), to);
    }
}

TEST(CastFastPath, ServesBFloatOnEveryMachine)
{
    const float value = 1;
    std::uint16_t target = 0;
    CastCounts counts;
    EXPECT_TRUE(castFast(DType::F32, reinterpret_cast<const std::byte*>(&value), DType::BF16, reinterpret_cast<std::byte*>(&target), 1, counts));
    EXPECT_EQ(target, 0x3F80);
}

} // namespace
} // namespace shardlens
