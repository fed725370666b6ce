#include "core/numeric/cast.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>

namespace shardlens {
namespace {

template <typename T>
double read(DType dtype, T value)
{
    return toDouble(dtype, reinterpret_cast<const std::byte*>(&value));
}

TEST(ToDouble, ReadsIntegersOfEverySizeWithTheirSign)
{
    EXPECT_EQ(read<std::int8_t>(DType::I8, -128), -128);
    EXPECT_EQ(read<std::uint8_t>(DType::U8, 255), 255);
    EXPECT_EQ(read<std::int16_t>(DType::I16, -32768), -32768);
    EXPECT_EQ(read<std::uint16_t>(DType::U16, 65535), 65535);
    EXPECT_EQ(read<std::int32_t>(DType::I32, std::numeric_limits<std::int32_t>::min()), -2147483648.0);
    EXPECT_EQ(read<std::uint32_t>(DType::U32, 0xFFFFFFFFu), 4294967295.0);
    EXPECT_EQ(read<std::int64_t>(DType::I64, -(std::int64_t{1} << 53)), -9007199254740992.0);
    EXPECT_EQ(read<std::uint64_t>(DType::U64, std::numeric_limits<std::uint64_t>::max()), 0x1p64);
}

TEST(ToDouble, ReadsQuantizedCodesAsTheirNumbers)
{
    EXPECT_EQ(read<std::int8_t>(DType::QI8, -5), -5);
    EXPECT_EQ(read<std::uint8_t>(DType::QU8, 200), 200);
    EXPECT_EQ(read<std::int32_t>(DType::QI32, -70'000), -70'000);
}

TEST(ToDouble, ReadsAnyByteButZeroAsTrue)
{
    EXPECT_EQ(read<std::uint8_t>(DType::Bool, 0), 0);
    EXPECT_EQ(read<std::uint8_t>(DType::Bool, 1), 1);
    EXPECT_EQ(read<std::uint8_t>(DType::Bool, 0x80), 1);
}

TEST(ToDouble, ReadsFloats)
{
    EXPECT_EQ(read(DType::F32, 0x1p-149f), 0x1p-149);
    EXPECT_EQ(read(DType::F64, 0x1p-1074), 0x1p-1074);
    EXPECT_EQ(read<std::uint16_t>(DType::F16, 0xC000), -2);
    EXPECT_EQ(read<std::uint16_t>(DType::BF16, 0xC000), -2);
    EXPECT_TRUE(std::isnan(read<std::uint8_t>(DType::F8E8M0, 0xFF)));
    EXPECT_TRUE(std::isinf(read<std::uint16_t>(DType::F16, 0x7C00)));
}

TEST(ToDouble, ReadsTheRealPartOfComplexNumbers)
{
    const float pair[2] = {1.5f, -7.0f};
    EXPECT_EQ(toDouble(DType::C64, reinterpret_cast<const std::byte*>(pair)), 1.5);
    const double wide[2] = {-2.25, 9.0};
    EXPECT_EQ(toDouble(DType::C128, reinterpret_cast<const std::byte*>(wide)), -2.25);
    const std::uint16_t half[2] = {0x3C00, 0x4000};
    EXPECT_EQ(toDouble(DType::C32, reinterpret_cast<const std::byte*>(half)), 1);
}

} // namespace
} // namespace shardlens
