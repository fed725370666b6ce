#include "core/numeric/difference.h"

#include "core/numeric/cast.h"
#include "core/numeric/decode.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <numeric>
#include <random>
#include <vector>

namespace shardlens {
namespace {

constexpr float kNanFloat = std::numeric_limits<float>::quiet_NaN();
constexpr float kInfFloat = std::numeric_limits<float>::infinity();

template <typename T>
std::vector<std::byte> packed(const std::vector<T>& values)
{
    std::vector<std::byte> out(values.size() * sizeof(T));
    std::memcpy(out.data(), values.data(), out.size());
    return out;
}

template <typename T, typename U>
ValueDifference compared(DType dtypeA, const std::vector<T>& a, DType dtypeB, const std::vector<U>& b, std::size_t values, Tolerance tolerance = {})
{
    const auto bytesA = packed(a);
    const auto bytesB = packed(b);
    return compareValues(dtypeA, bytesA.data(), dtypeB, bytesB.data(), values, tolerance);
}

TEST(Difference, OfEqualBytesIsNone)
{
    const std::vector<float> values{1, -2, 0.5f, kNanFloat, kInfFloat};
    const ValueDifference found = compared(DType::F32, values, DType::F32, values, 5);
    EXPECT_EQ(found.values, 5u);
    EXPECT_EQ(found.differing, 0u);
    EXPECT_FALSE(found.first);
    EXPECT_EQ(found.maxAbsolute, 0);
    ASSERT_TRUE(found.cosine());
    EXPECT_DOUBLE_EQ(*found.cosine(), 1);
    EXPECT_DOUBLE_EQ(found.squaresA, 5.25) << "what is not finite has no part in it";
}

TEST(Difference, FindsPlaceErrorsAndDirection)
{
    std::vector<float> a(5'000, 1.0f);
    std::vector<float> b = a;
    b[3'001] = 1.5f;
    b[4'999] = -1.0f;
    const ValueDifference found = compared(DType::F32, a, DType::F32, b, a.size());
    EXPECT_EQ(found.differing, 2u);
    EXPECT_EQ(found.first, 3'001u);
    EXPECT_EQ(found.maxAbsolute, 2);
    EXPECT_EQ(found.maxRelative, 2);
    EXPECT_NEAR(*found.cosine(), (4'998 + 1.5 - 1) / std::sqrt(5'000 * (4'998 + 2.25 + 1)), 1e-12);
}

TEST(Difference, OfZerosHasNoCosine)
{
    EXPECT_FALSE((compared<float, float>(DType::F32, {0, 0}, DType::F32, {1, 2}, 2).cosine()));
}

TEST(Difference, TakesBothZerosForEqual)
{
    EXPECT_EQ((compared<float, float>(DType::F32, {0.0f, -0.0f}, DType::F32, {-0.0f, 0.0f}, 2).differing), 0u);
}

TEST(Difference, CallsANanOfOtherBitsAnother)
{
    const std::vector<std::uint32_t> a{0x7FC00000u, 0x7FC00000u, 0x3F800000u};
    const std::vector<std::uint32_t> b{0x7FC00001u, 0x7FC00000u, 0x7FC00000u};
    const ValueDifference found = compared(DType::F32, a, DType::F32, b, 3);
    EXPECT_EQ(found.differing, 2u);
    EXPECT_EQ(found.nonFinite, 2u);
    EXPECT_EQ(found.first, 0u);
    EXPECT_EQ(found.maxAbsolute, 0) << "errors are of finite pairs";
}

TEST(Difference, ComparesOtherDtypesByValue)
{
    const std::vector<std::uint16_t> narrow{0x3F80, 0xC000, 0x7FC1, 0x7F80, 0xFF80}; // bf16: 1, −2, NaN, Inf, −Inf
    const std::vector<float> wide{1, -2, kNanFloat, kInfFloat, kInfFloat};
    const ValueDifference found = compared(DType::BF16, narrow, DType::F32, wide, 5);
    EXPECT_EQ(found.differing, 1u) << "only the sign of the infinity";
    EXPECT_EQ(found.first, 4u);
    EXPECT_EQ((compared<std::int8_t, double>(DType::I8, {-3, 7}, DType::F64, {-3, 7.5}, 2).differing), 1u);
}

TEST(Difference, TellsNeighbouringLargeIntegersApart)
{
    const std::int64_t large = (std::int64_t{1} << 60) + 1;
    const auto found = compared<std::int64_t, std::int64_t>(DType::I64, {large, -5, 3}, DType::I64, {large + 1, -5, 3}, 3);
    EXPECT_EQ(found.differing, 1u);
    EXPECT_EQ(found.maxAbsolute, 1);
    EXPECT_EQ((compared<std::int64_t, std::uint64_t>(DType::I64, {-1, 7}, DType::U64, {~std::uint64_t{0}, 7}, 2).differing), 1u) << "equal bits, other numbers";
}

TEST(Difference, MeasuresComplexValuesByMagnitude)
{
    const auto found = compared<float, float>(DType::C64, {1, 1, 3, 4}, DType::C64, {1, 1, 0, 0}, 2);
    EXPECT_EQ(found.values, 2u);
    EXPECT_EQ(found.differing, 1u);
    EXPECT_EQ(found.maxAbsolute, 5);
    EXPECT_EQ(found.first, 1u);
    EXPECT_EQ((compared<float, double>(DType::C64, {2, 0}, DType::F64, {2}, 1).differing), 0u);
}

TEST(Difference, KeepsToTheTolerance)
{
    const std::vector<float> a{1, 100, 0};
    const std::vector<float> b{1.25f, 101, 0.25f};
    const auto differing = [&](Tolerance tolerance) { return compared(DType::F32, a, DType::F32, b, 3, tolerance).differing; };
    EXPECT_EQ(differing({}), 3u);
    EXPECT_EQ(differing({0.25, 0}), 1u);
    EXPECT_EQ(differing({0, 0.01}), 2u);
    EXPECT_EQ(differing({0.25, 0.01}), 0u) << "either is enough";
    EXPECT_EQ(compared(DType::F32, a, DType::F32, b, 3, {10, 0}).maxAbsolute, 1) << "errors are told all the same";
}

TEST(Difference, ComparesPackedTypes)
{
    const std::vector<std::uint8_t> a{0x21, 0x43};
    const std::vector<std::uint8_t> b{0x21, 0x53};
    const auto found = compared(DType::F4, a, DType::F4, b, 4);
    EXPECT_EQ(found.differing, 1u);
    EXPECT_EQ(found.first, 3u);
    EXPECT_EQ(found.maxAbsolute, 1); // 2 and 3
}

TEST(Difference, AppendsWhatFollows)
{
    std::vector<float> a(3'000);
    std::iota(a.begin(), a.end(), -700.0f);
    std::vector<float> b = a;
    b[1'500] += 3;
    b[2'999] += 1;
    const ValueDifference whole = compared(DType::F32, a, DType::F32, b, a.size());
    ValueDifference parts;
    for (std::size_t at = 0; at < a.size(); at += 1'000)
        parts.append(compared(DType::F32, std::vector<float>(a.begin() + static_cast<std::ptrdiff_t>(at), a.begin() + static_cast<std::ptrdiff_t>(at) + 1'000), DType::F32,
                              std::vector<float>(b.begin() + static_cast<std::ptrdiff_t>(at), b.begin() + static_cast<std::ptrdiff_t>(at) + 1'000), 1'000));
    EXPECT_EQ(parts.values, whole.values);
    EXPECT_EQ(parts.differing, 2u);
    EXPECT_EQ(parts.first, 1'500u);
    EXPECT_EQ(parts.maxAbsolute, whole.maxAbsolute);
    EXPECT_NEAR(*parts.cosine(), *whole.cosine(), 1e-12);
}

// Every pair of two real dtypes against one plain loop, random bytes and all.
class DifferenceOfEvery : public testing::TestWithParam<DType> {};

TEST_P(DifferenceOfEvery, AgreesWithOnePlainLoop)
{
    const DType dtypeA = GetParam();
    std::mt19937_64 random(3);
    constexpr std::size_t kValues = 4'444;
    const auto randomBytes = [&](DType dtype) {
        std::vector<std::byte> out(bytesOf(dtype, kValues).value());
        for (std::byte& byte : out)
            byte = static_cast<std::byte>(random());
        return out;
    };
    for (const DType dtypeB : {dtypeA, DType::F32, DType::I32, DType::BF16}) {
        const auto a = randomBytes(dtypeA);
        const auto b = randomBytes(dtypeB);
        std::vector<double> x(kValues);
        std::vector<double> y(kValues);
        decodeValues(dtypeA, a.data(), x.data(), kValues);
        decodeValues(dtypeB, b.data(), y.data(), kValues);
        std::uint64_t differing = 0;
        double largest = 0;
        for (std::size_t i = 0; i < kValues; ++i) {
            const std::size_t cell = info(dtypeA).bytesPerBlock;
            const bool bothNan = std::isnan(x[i]) && std::isnan(y[i]);
            const bool sameBits = dtypeA == dtypeB && info(dtypeA).valuesPerBlock == 1 && std::memcmp(a.data() + i * cell, b.data() + i * cell, cell) == 0;
            differing += !sameBits && !(x[i] == y[i]) && !(bothNan && dtypeA != dtypeB) ? 1 : 0;
            if (std::isfinite(x[i]) && std::isfinite(y[i]))
                largest = std::max(largest, std::fabs(x[i] - y[i]));
        }
        const ValueDifference found = compareValues(dtypeA, a.data(), dtypeB, b.data(), kValues, {});
        EXPECT_EQ(found.differing, differing) << nameOf(dtypeA) << " " << nameOf(dtypeB);
        EXPECT_NEAR(found.maxAbsolute, largest, largest * 1e-15) << nameOf(dtypeA) << " " << nameOf(dtypeB);
    }
}

std::vector<DType> allRealTypes()
{
    std::vector<DType> out;
    for (const DTypeInfo& known : allDTypes())
        if (known.kind != DTypeKind::Complex)
            out.push_back(known.dtype);
    return out;
}

INSTANTIATE_TEST_SUITE_P(DType, DifferenceOfEvery, testing::ValuesIn(allRealTypes()), [](const auto& row) { return std::string(nameOf(row.param)); });

} // namespace
} // namespace shardlens
