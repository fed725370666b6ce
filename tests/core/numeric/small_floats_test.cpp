#include "core/numeric/cast.h"
#include "tests/core/numeric/reference_floats.h"

#include "core/base/endian.h"

#include <gtest/gtest.h>

#include <array>
#include <bit>
#include <cmath>
#include <limits>
#include <random>

namespace shardlens::test {
namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();

class SmallFloatTest : public ::testing::TestWithParam<ReferenceFloat> {
protected:
    [[nodiscard]] std::uint32_t codeOf(DType from, double value) const
    {
        std::array<std::byte, 8> source{};
        std::array<std::byte, 2> target{};
        if (from == DType::F64)
            storeLe(source.data(), value);
        else
            storeLe(source.data(), static_cast<float>(value));
        castValues(from, source.data(), format().dtype(), target.data(), 1);
        return info(format().dtype()).bytesPerBlock == 1 ? static_cast<std::uint32_t>(target[0]) : loadLe16(target.data());
    }
    [[nodiscard]] double valueOf(std::uint32_t code) const
    {
        std::array<std::byte, 2> bytes{static_cast<std::byte>(code & 0xFF), static_cast<std::byte>(code >> 8)};
        return toDouble(format().dtype(), bytes.data());
    }
    // `value` must be a float, so that the way over float that torch takes changes nothing.
    void expectRounded(double value) const
    {
        const std::string expected = format().rounded(value);
        EXPECT_EQ(format().words(codeOf(DType::F64, value)), expected) << value;
        EXPECT_EQ(format().words(codeOf(DType::F32, value)), expected) << value;
    }
    [[nodiscard]] static const ReferenceFloat& format() { return GetParam(); }
};

TEST_P(SmallFloatTest, CodesHaveTheValuesOfTheirDefinition)
{
    for (std::uint32_t code = 0; code < format().values().size(); ++code) {
        ASSERT_EQ(valueOf(code), format().values()[code]) << code;
        if (code != 0) {
            ASSERT_EQ(valueOf(code | format().signBit()), -format().values()[code]) << code;
        }
    }
}

TEST_P(SmallFloatTest, EveryCodeSurvivesAWiderType)
{
    for (std::uint32_t code = 0; code < 2 * format().signBit(); ++code) {
        ASSERT_EQ(format().words(codeOf(DType::F32, valueOf(code))), format().words(code)) << code;
        ASSERT_EQ(format().words(codeOf(DType::F64, valueOf(code))), format().words(code)) << code;
    }
}

TEST_P(SmallFloatTest, TiesGoToTheEvenCodeAndTheirNeighboursToTheNearest)
{
    const std::vector<double>& values = format().values();
    for (std::size_t i = 0; i + 1 < values.size(); ++i) {
        const auto tie = static_cast<float>((values[i] + values[i + 1]) / 2);
        if (static_cast<double>(tie) != (values[i] + values[i + 1]) / 2)
            continue; // not a float: below the least float's half
        for (const float value : {tie, std::nextafter(tie, 0.0f), std::nextafter(tie, 1e38f), -tie, std::nextafter(-tie, 0.0f), std::nextafter(-tie, -1e38f)})
            expectRounded(static_cast<double>(value));
    }
}

TEST_P(SmallFloatTest, RoundsAnyFloatToTheNearest)
{
    std::mt19937 random(7);
    for (int i = 0; i < 40'000; ++i) {
        const double value = static_cast<double>(std::bit_cast<float>(static_cast<std::uint32_t>(random())));
        if (std::isfinite(value))
            expectRounded(value);
    }
    const auto edge = static_cast<float>(std::min(1.2 * format().largest(), 1e38)); // random bits seldom hit a format's own range
    std::uniform_real_distribution<float> near(-edge, edge);
    for (int i = 0; i < 40'000; ++i)
        expectRounded(static_cast<double>(near(random)));
}

TEST_P(SmallFloatTest, KeepsWhatIsNoNumber)
{
    EXPECT_EQ(format().words(codeOf(DType::F32, std::nan(""))), "nan");
    EXPECT_EQ(format().words(codeOf(DType::F64, -std::nan(""))), "nan");
    const bool hasInfinity = std::isinf(valueOf(static_cast<std::uint32_t>(format().values().size())));
    EXPECT_EQ(format().words(codeOf(DType::F32, kInfinity)), hasInfinity ? "inf" : "nan");
    EXPECT_EQ(format().words(codeOf(DType::F64, -kInfinity)), hasInfinity ? "-inf" : "nan");
}

INSTANTIATE_TEST_SUITE_P(All, SmallFloatTest, testing::ValuesIn(referenceFloats()), [](const auto& row) { return std::string(nameOf(row.param.dtype())); });

// The corners that the definitions of the types name, as numbers.
struct Corner {
    const char* name;
    DType dtype;
    std::uint32_t code;
    double value;
};

class SmallFloatCorners : public ::testing::TestWithParam<Corner> {};

TEST_P(SmallFloatCorners, AreWhatTheDefinitionSays)
{
    const std::array<std::byte, 2> bytes{static_cast<std::byte>(GetParam().code & 0xFF), static_cast<std::byte>(GetParam().code >> 8)};
    EXPECT_EQ(toDouble(GetParam().dtype, bytes.data()), GetParam().value);
}

INSTANTIATE_TEST_SUITE_P(All, SmallFloatCorners,
                         testing::Values(Corner{"F16Largest", DType::F16, 0x7BFF, 65504}, Corner{"F16LeastNormal", DType::F16, 0x0400, 0x1p-14},
                                         Corner{"F16LeastSubnormal", DType::F16, 0x0001, 0x1p-24}, Corner{"BF16One", DType::BF16, 0x3F80, 1},
                                         Corner{"BF16LeastSubnormal", DType::BF16, 0x0001, 0x1p-133}, Corner{"E5M2Largest", DType::F8E5M2, 0x7B, 57344},
                                         Corner{"E5M2LeastSubnormal", DType::F8E5M2, 0x01, 0x1p-16}, Corner{"E4M3Largest", DType::F8E4M3, 0x7E, 448},
                                         Corner{"E4M3LeastSubnormal", DType::F8E4M3, 0x01, 0x1p-9}, Corner{"E4M3FnuzLargest", DType::F8E4M3Fnuz, 0x7F, 240},
                                         Corner{"E4M3FnuzLeastSubnormal", DType::F8E4M3Fnuz, 0x01, 0x1p-10},
                                         Corner{"E5M2FnuzLargest", DType::F8E5M2Fnuz, 0x7F, 57344}, Corner{"E5M2FnuzLeastSubnormal", DType::F8E5M2Fnuz, 0x01, 0x1p-17},
                                         Corner{"E8M0One", DType::F8E8M0, 127, 1}, Corner{"E8M0Least", DType::F8E8M0, 0, 0x1p-127},
                                         Corner{"E8M0Largest", DType::F8E8M0, 254, 0x1p127}),
                         [](const auto& row) { return row.param.name; });

} // namespace
} // namespace shardlens::test
