#include "core/numeric/decode.h"

#include "core/numeric/cast.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <random>
#include <vector>

namespace shardlens {
namespace {

using ::testing::ElementsAre;

std::vector<double> decoded(DType dtype, const std::vector<std::uint8_t>& bytes)
{
    const std::size_t values = bytes.size() / info(dtype).bytesPerBlock * info(dtype).valuesPerBlock;
    std::vector<double> out(values * numbersPerValue(dtype));
    decodeValues(dtype, reinterpret_cast<const std::byte*>(bytes.data()), out.data(), values);
    return out;
}

// Every type of one number a value against toDouble(), which decodes one by one; more values than any inner buffer holds.
class DecodeEvery : public testing::TestWithParam<DType> {};

TEST_P(DecodeEvery, AgreesWithDecodingOneByOne)
{
    const DType dtype = GetParam();
    const std::size_t cell = info(dtype).bytesPerBlock;
    std::mt19937_64 random(7);
    std::vector<std::uint8_t> bytes(70'003 * cell);
    for (std::uint8_t& byte : bytes)
        byte = static_cast<std::uint8_t>(random());
    const std::vector<double> found = decoded(dtype, bytes);
    ASSERT_EQ(found.size(), 70'003u);
    for (std::size_t i = 0; i < found.size(); ++i) {
        const double wanted = toDouble(dtype, reinterpret_cast<const std::byte*>(bytes.data() + i * cell));
        ASSERT_TRUE(found[i] == wanted || (std::isnan(found[i]) && std::isnan(wanted))) << i << ": " << found[i] << " for " << wanted;
    }
}

std::vector<DType> singleTypes()
{
    std::vector<DType> out;
    for (const DTypeInfo& known : allDTypes())
        if (known.valuesPerBlock == 1 && known.kind != DTypeKind::Complex)
            out.push_back(known.dtype);
    return out;
}

INSTANTIATE_TEST_SUITE_P(DType, DecodeEvery, testing::ValuesIn(singleTypes()), [](const auto& row) { return std::string(nameOf(row.param)); });

TEST(Decode, TakesNibblesLowFirst)
{
    EXPECT_THAT(decoded(DType::F4, {0x10, 0x32, 0x54, 0x76}), ElementsAre(0, 0.5, 1, 1.5, 2, 3, 4, 6));
    EXPECT_THAT(decoded(DType::F4, {0xF9}), ElementsAre(-0.5, -6));
}

TEST(Decode, TakesSixBitsLowFirst)
{
    // codes 0x1F (largest), 0x20 (−0), 0x01 (least), 0x3F (most negative)
    const std::uint32_t four = 0x1Fu | 0x20u << 6 | 0x01u << 12 | 0x3Fu << 18;
    const std::vector<std::uint8_t> bytes{static_cast<std::uint8_t>(four), static_cast<std::uint8_t>(four >> 8), static_cast<std::uint8_t>(four >> 16)};
    EXPECT_THAT(decoded(DType::F6E2M3, bytes), ElementsAre(7.5, 0, 0.125, -7.5));
    EXPECT_THAT(decoded(DType::F6E3M2, bytes), ElementsAre(28, 0, 0.0625, -28));
}

TEST(Decode, GivesBothPartsOfComplexValues)
{
    const float parts[] = {1.5f, -2.0f, 0.25f, 3.0f};
    std::vector<std::uint8_t> bytes(sizeof parts);
    std::memcpy(bytes.data(), parts, sizeof parts);
    EXPECT_THAT(decoded(DType::C64, bytes), ElementsAre(1.5, -2, 0.25, 3));
    EXPECT_THAT(decoded(DType::C32, {0x00, 0x3C, 0x00, 0xC0}), ElementsAre(1, -2));
}

} // namespace
} // namespace shardlens
