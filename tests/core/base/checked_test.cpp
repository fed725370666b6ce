#include "core/base/checked.h"

#include "core/base/endian.h"

#include <gtest/gtest.h>

#include <array>
#include <limits>

namespace shardlens {
namespace {

constexpr std::uint64_t kMax = std::numeric_limits<std::uint64_t>::max();

TEST(Checked, RefusesWhatDoesNotFit)
{
    EXPECT_EQ(checkedAdd(kMax - 1, 1), kMax);
    EXPECT_EQ(checkedAdd(kMax, 1), std::nullopt);
    EXPECT_EQ(checkedMul(1ull << 32, (1ull << 32) - 1), (1ull << 32) * ((1ull << 32) - 1));
    EXPECT_EQ(checkedMul(1ull << 32, 1ull << 32), std::nullopt);
}

TEST(Checked, ProductIsMultipliedFromTheLeft)
{
    EXPECT_EQ(checkedProduct({}), 1u);
    EXPECT_EQ(checkedProduct(std::array<std::uint64_t, 3>{0, kMax, kMax}), 0u);
    EXPECT_EQ(checkedProduct(std::array<std::uint64_t, 3>{kMax, kMax, 0}), std::nullopt);
}

TEST(Checked, CeilDivDoesNotWrap)
{
    EXPECT_EQ(ceilDiv(0, 4), 0u);
    EXPECT_EQ(ceilDiv(9, 4), 3u);
    EXPECT_EQ(ceilDiv(kMax, 2), 1ull << 63);
}

TEST(Endian, LoadsWhatStoreWrites)
{
    std::array<std::byte, 8> bytes{};
    storeLe<std::uint64_t>(bytes.data(), 0x0102030405060708ull);
    EXPECT_EQ(bytes[0], std::byte{8});
    EXPECT_EQ(loadLe16(bytes.data()), 0x0708u);
    EXPECT_EQ(loadLe32(bytes.data()), 0x05060708u);
    EXPECT_EQ(loadLe64(bytes.data()), 0x0102030405060708ull);
    EXPECT_EQ(loadBe64(bytes.data()), 0x0807060504030201ull);
}

} // namespace
} // namespace shardlens
