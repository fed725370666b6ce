#include "core/numeric/cast.h"

#include "core/base/endian.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <array>
#include <bit>
#include <cmath>
#include <limits>
#include <string>
#include <vector>

namespace shardlens {
namespace {

using ::testing::ElementsAre;

template <typename To, typename From>
std::vector<To> castAll(DType from, DType to, const std::vector<From>& values, CastCounts* counts = nullptr)
{
    std::vector<To> out(values.size());
    const CastCounts found = castValues(from, reinterpret_cast<const std::byte*>(values.data()), to, reinterpret_cast<std::byte*>(out.data()), values.size());
    if (counts != nullptr)
        *counts += found;
    return out;
}

TEST(Cast, ServesFloatingPointTypesOfOneValueABlock)
{
    const std::vector<DType> floats{DType::F64, DType::F32, DType::F16, DType::BF16, DType::F8E5M2, DType::F8E4M3, DType::F8E4M3Fnuz, DType::F8E5M2Fnuz};
    for (const DTypeInfo& from : allDTypes())
        for (const DTypeInfo& to : allDTypes()) {
            const auto isOne = [&](DType dtype) { return std::find(floats.begin(), floats.end(), dtype) != floats.end(); };
            const bool expected = (isOne(from.dtype) || from.dtype == DType::F8E8M0) && (isOne(to.dtype) || (to.dtype == DType::F8E8M0 && from.dtype == to.dtype));
            EXPECT_EQ(canCast(from.dtype, to.dtype), expected) << from.name << " to " << to.name;
        }
}

TEST(Cast, ToTheSameTypeKeepsEveryBit)
{
    const std::vector<std::uint32_t> bits{0x7FA00001u, 0xFFC12345u, 0x80000000u, 0x00000001u}; // payloads of NaN too
    CastCounts counts;
    EXPECT_EQ((castAll<std::uint32_t>(DType::F32, DType::F32, bits, &counts)), bits);
    EXPECT_EQ(counts.nonFinite, 0u);
}

TEST(Cast, FromDoubleToFloatRoundsToTheNearestEven)
{
    const double tie = 1.0 + 0x1p-24; // halfway between 1 and the float after it
    const auto floats = castAll<float>(DType::F64, DType::F32, std::vector<double>{tie, std::nextafter(tie, 2.0), 1.0 + 3 * 0x1p-24, 0x1p-149, 0x1p-150, 0x1p-150 * 1.5});
    EXPECT_THAT(floats, ElementsAre(1.0f, std::nextafter(1.0f, 2.0f), 1.0f + 0x1p-22f, 0x1p-149f, 0.0f, 0x1p-149f));
}

TEST(Cast, FromDoubleToHalfGoesOverFloatAsTorchDoes)
{
    // Above the tie of 1 and the half after it by less than a float can say: over float it is the tie, and the tie goes to 1.
    const double value = 1.0 + 0x1p-11 + 0x1p-40;
    EXPECT_THAT((castAll<std::uint16_t>(DType::F64, DType::F16, std::vector<double>{value, 1.0 + 0x1p-11 + 0x1p-20})), ElementsAre(0x3C00, 0x3C01));
    EXPECT_THAT((castAll<std::uint16_t>(DType::F64, DType::BF16, std::vector<double>{1.0 + 0x1p-8 + 0x1p-40})), ElementsAre(0x3F80));
}

TEST(Cast, KeepsTheSignOfZeroWhereTheTypeHasOne)
{
    const std::vector<float> zeros{0.0f, -0.0f};
    EXPECT_THAT((castAll<std::uint16_t>(DType::F32, DType::F16, zeros)), ElementsAre(0x0000, 0x8000));
    EXPECT_THAT((castAll<std::uint16_t>(DType::F32, DType::BF16, zeros)), ElementsAre(0x0000, 0x8000));
    EXPECT_THAT((castAll<std::uint8_t>(DType::F32, DType::F8E4M3, zeros)), ElementsAre(0x00, 0x80));
    EXPECT_THAT((castAll<std::uint8_t>(DType::F32, DType::F8E4M3Fnuz, zeros)), ElementsAre(0x00, 0x00)); // 0x80 would be NaN
    EXPECT_THAT((castAll<std::uint64_t>(DType::F32, DType::F64, zeros)), ElementsAre(0u, 0x8000000000000000u));
}

TEST(Cast, BetweenSmallTypesLosesNothingThatTheTargetCanHold)
{
    std::vector<std::uint8_t> codes(256);
    for (std::size_t i = 0; i < codes.size(); ++i)
        codes[i] = static_cast<std::uint8_t>(i);
    const auto halves = castAll<std::uint16_t>(DType::F8E4M3, DType::F16, codes);
    for (std::size_t i = 0; i < codes.size(); ++i) {
        const double narrow = toDouble(DType::F8E4M3, reinterpret_cast<const std::byte*>(&codes[i]));
        const double wide = toDouble(DType::F16, reinterpret_cast<const std::byte*>(&halves[i]));
        EXPECT_TRUE(narrow == wide || (std::isnan(narrow) && std::isnan(wide))) << i;
    }
}

struct Loss {
    const char* name;
    DType to;
    std::vector<float> values;
    CastCounts expected;
};

class CastLosses : public ::testing::TestWithParam<Loss> {};

TEST_P(CastLosses, AreCounted)
{
    const Loss& row = GetParam();
    std::vector<std::byte> out(row.values.size() * info(row.to).bytesPerBlock);
    const CastCounts counts = castValues(DType::F32, reinterpret_cast<const std::byte*>(row.values.data()), row.to, out.data(), row.values.size());
    EXPECT_EQ(counts.overflow, row.expected.overflow);
    EXPECT_EQ(counts.underflow, row.expected.underflow);
    EXPECT_EQ(counts.nonFinite, row.expected.nonFinite);
}

constexpr float kInf = std::numeric_limits<float>::infinity();
const float kNan = std::numeric_limits<float>::quiet_NaN();

INSTANTIATE_TEST_SUITE_P(All, CastLosses,
                         testing::Values(Loss{"None", DType::F16, {0.0f, -0.0f, 1.0f, 65504.0f, 0x1p-24f}, {}},
                                         Loss{"HalfOverflowBeginsAt65520", DType::F16, {std::nextafter(65520.0f, 0.0f), 65520.0f, -65520.0f}, {2, 0, 0}},
                                         Loss{"HalfUnderflowEndsAtTheTie", DType::F16, {0x1p-25f, -0x1p-25f, std::nextafter(0x1p-25f, 1.0f), 0x1p-149f}, {0, 3, 0}},
                                         Loss{"BFloatOverflow", DType::BF16, {3.38e38f, std::numeric_limits<float>::max(), -3.4e38f}, {2, 0, 0}},
                                         Loss{"BFloatUnderflow", DType::BF16, {0x1p-134f, -0x1p-149f, 0x1p-133f}, {0, 2, 0}},
                                         Loss{"NonFiniteIsNoOverflow", DType::BF16, {kInf, -kInf, kNan, 1.0f}, {0, 0, 3}},
                                         Loss{"NonFiniteIsNoOverflowOfHalves", DType::F16, {kInf, -kInf, kNan, 1.0f}, {0, 0, 3}},
                                         Loss{"E4M3BecomesNanAbove464", DType::F8E4M3, {464.0f, std::nextafter(464.0f, 500.0f), -1000.0f}, {2, 0, 0}},
                                         Loss{"E4M3HasNoInfinity", DType::F8E4M3, {kInf}, {0, 0, 1}},
                                         Loss{"E5M2BecomesInfinityAt61440", DType::F8E5M2, {std::nextafter(61440.0f, 0.0f), 61440.0f}, {1, 0, 0}},
                                         Loss{"FnuzBecomesNanAt248", DType::F8E4M3Fnuz, {std::nextafter(248.0f, 0.0f), 248.0f, -1e10f}, {2, 0, 0}}),
                         [](const auto& row) { return row.param.name; });

TEST(CastCounts, AddUp)
{
    CastCounts counts{1, 2, 3};
    counts += CastCounts{10, 20, 30};
    EXPECT_EQ(counts.overflow, 11u);
    EXPECT_EQ(counts.underflow, 22u);
    EXPECT_EQ(counts.nonFinite, 33u);
}

} // namespace
} // namespace shardlens
