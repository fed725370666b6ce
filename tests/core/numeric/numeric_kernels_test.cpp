#include "core/numeric/kernels/numeric_kernels.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <cstring>
#include <random>
#include <vector>

namespace shardlens {
namespace {

constexpr std::size_t kValues = 4096 + 37;

// Values of all magnitudes, ties, zeros of both signs, subnormals.
std::vector<float> hardValues(std::uint32_t seed)
{
    std::mt19937 random(seed);
    std::vector<float> out(kValues);
    for (std::size_t i = 0; i < out.size(); ++i)
        switch (random() % 5) {
        case 0: out[i] = std::ldexp(static_cast<float>(random() % 4096) - 2048, static_cast<int>(random() % 40) - 30); break;
        case 1: out[i] = (static_cast<float>(random() % 64) - 32) * 0.25f; break;
        case 2: out[i] = random() % 2 == 0 ? 0.0f : -0.0f; break;
        case 3: out[i] = std::bit_cast<float>(static_cast<std::uint32_t>(random() & 0x807FFFFFu)); break;
        default: out[i] = std::normal_distribution<float>(0, 0.05f)(random); break;
        }
    return out;
}

class NumericKernelsTest : public ::testing::TestWithParam<std::size_t> {
protected:
    // Calls `use` with the kernels of each instruction set that this processor has, and with the plain ones' name first.
    template <typename Use>
    void onEach(const Use& use)
    {
        for (const NumericKernels* kernels : usableNumericKernels()) {
            SCOPED_TRACE(kernels->name);
            use(*kernels);
        }
    }

    // Runs of the length that is tested, over as many values as they fill.
    [[nodiscard]] ScaleRuns runsOf(const std::vector<float>& values) const { return {values.data(), GetParam(), values.size() / GetParam()}; }

    [[nodiscard]] static std::vector<float> scalesFor(std::size_t count)
    {
        std::vector<float> out(count);
        for (std::size_t i = 0; i < count; ++i)
            out[i] = std::ldexp(1.0f + static_cast<float>(i % 7) * 0.125f, static_cast<int>(i % 11) - 6);
        return out;
    }

    // The same result of every set as of the plain kernels.
    template <typename Make>
    void expectEqual(const Make& make)
    {
        const auto expected = make(*usableNumericKernels().front());
        onEach([&](const NumericKernels& kernels) { EXPECT_EQ(make(kernels), expected); });
    }
};

INSTANTIATE_TEST_SUITE_P(Lengths, NumericKernelsTest, ::testing::Values(1, 3, 16, 32, 64, 100, 128, 1000, 4133));

TEST_P(NumericKernelsTest, RangesAreThoseOfThePlainLoop)
{
    const std::vector<float> values = hardValues(1);
    const ScaleRuns runs = runsOf(values);
    expectEqual([&](const NumericKernels& kernels) {
        std::vector<std::uint32_t> largest(runs.count, 0);
        kernels.magnitudes(runs, largest.data());
        return largest;
    });
    expectEqual([&](const NumericKernels& kernels) {
        std::vector<std::int32_t> both(2 * runs.count, 0);
        kernels.extremes(runs, both.data(), both.data() + runs.count);
        return both;
    });
}

TEST_P(NumericKernelsTest, RangesAreThoseOfTheValues)
{
    const std::vector<float> values = hardValues(2);
    const ScaleRuns runs = runsOf(values);
    std::vector<std::int32_t> least(runs.count, 0);
    std::vector<std::int32_t> greatest(runs.count, 0);
    numericKernels().extremes(runs, least.data(), greatest.data());
    for (std::size_t run = 0; run < runs.count; ++run) {
        float low = 0;
        float high = 0;
        for (std::size_t i = run * runs.length; i < (run + 1) * runs.length; ++i) {
            low = std::min(low, values[i]);
            high = std::max(high, values[i]);
        }
        EXPECT_EQ(std::bit_cast<float>(bitsOfOrdered(greatest[run])), high);
        EXPECT_EQ(std::bit_cast<float>(bitsOfOrdered(least[run])), low);
    }
}

TEST_P(NumericKernelsTest, CodesAreThoseOfThePlainLoop)
{
    const std::vector<float> values = hardValues(3);
    const ScaleRuns runs = runsOf(values);
    const std::vector<float> scales = scalesFor(runs.count);
    const std::vector<float> zeros(runs.count, -3.0f);
    for (std::uint8_t rounding = 0; rounding < 3; ++rounding)
        for (const float* zero : {static_cast<const float*>(nullptr), zeros.data()}) {
            const CodeRule rule{scales.data(), zero, rounding, -8, 7};
            const auto with = [&](auto kernel) {
                expectEqual([&](const NumericKernels& kernels) {
                    std::vector<std::uint8_t> out(values.size());
                    (kernels.*kernel)(runs, rule, out.data());
                    return out;
                });
            };
            with(&NumericKernels::intCodes);
            with(&NumericKernels::scaledCodes);
            with(&NumericKernels::e4m3Codes);
            with(&NumericKernels::e2m1Codes);
        }
}

TEST_P(NumericKernelsTest, BookCodesAreThoseOfThePlainLoop)
{
    const std::vector<float> values = hardValues(4);
    const ScaleRuns runs = runsOf(values);
    const std::vector<float> scales = scalesFor(runs.count);
    std::vector<float> bounds(15);
    for (std::size_t i = 0; i < bounds.size(); ++i)
        bounds[i] = (static_cast<float>(i) - 7) * 0.125f;
    for (const bool divide : {false, true})
        expectEqual([&](const NumericKernels& kernels) {
            std::vector<std::uint8_t> out(values.size());
            kernels.boundCodes(runs, scales.data(), divide, bounds.data(), out.data());
            return out;
        });
}

TEST_P(NumericKernelsTest, ValuesAreThoseOfThePlainLoop)
{
    std::vector<std::uint8_t> codes(kValues);
    for (std::size_t i = 0; i < codes.size(); ++i)
        codes[i] = static_cast<std::uint8_t>(i * 37);
    std::vector<float> table(256);
    for (std::size_t i = 0; i < table.size(); ++i)
        table[i] = std::ldexp(static_cast<float>(i) - 128, -5);
    const std::size_t count = codes.size() / GetParam();
    const std::vector<float> scales = scalesFor(count);
    const std::vector<float> zeros(count, 5.0f);
    for (std::uint8_t rounding = 0; rounding < 3; ++rounding) {
        const CodeRule rule{scales.data(), zeros.data(), rounding, 0, 0};
        expectEqual([&](const NumericKernels& kernels) {
            std::vector<float> out(2 * codes.size());
            kernels.intValues(reinterpret_cast<const std::int8_t*>(codes.data()), GetParam(), count, rule, out.data());
            kernels.tableValues(codes.data(), GetParam(), count, table.data(), rule, out.data() + codes.size());
            return out;
        });
    }
}

TEST(NumericKernels, WidensEveryHalfAsTheCastDoes)
{
    std::vector<std::uint16_t> codes(1u << 16);
    for (std::size_t i = 0; i < codes.size(); ++i)
        codes[i] = static_cast<std::uint16_t>(i);
    for (const NumericKernels* kernels : usableNumericKernels()) {
        SCOPED_TRACE(kernels->name);
        std::vector<float> halves(codes.size());
        std::vector<float> brains(codes.size());
        kernels->widenF16(reinterpret_cast<const std::byte*>(codes.data()), halves.data(), codes.size());
        kernels->widenBF16(reinterpret_cast<const std::byte*>(codes.data()), brains.data(), codes.size());
        for (std::size_t i = 0; i < codes.size(); ++i) {
            EXPECT_EQ(std::bit_cast<std::uint32_t>(brains[i]), static_cast<std::uint32_t>(i) << 16);
            const int exponent = static_cast<int>(i >> 10 & 31);
            const auto mantissa = static_cast<float>(i & 1023);
            const float magnitude = exponent == 0 ? std::ldexp(mantissa, -24) : std::ldexp(1024 + mantissa, exponent - 25);
            if (exponent == 31)
                EXPECT_FALSE(std::isfinite(halves[i]));
            else
                EXPECT_EQ(halves[i], (i & 0x8000u) != 0 ? -magnitude : magnitude) << i;
        }
    }
}

TEST(NumericKernels, PacksTwoCodesAByte)
{
    const std::vector<std::uint8_t> codes{0xF8, 0x07, 0x00, 0xFF, 0x01, 0x02}; // -8, 7, 0, -1, 1, 2
    for (const NumericKernels* kernels : usableNumericKernels()) {
        std::vector<std::uint8_t> low(3);
        std::vector<std::uint8_t> high(3);
        kernels->packLowFirst(codes.data(), 3, 8, low.data());
        kernels->packHighFirst(codes.data(), 3, high.data());
        EXPECT_THAT(low, ::testing::ElementsAre(0xF0, 0x78, 0xA9)) << kernels->name; // code + 8, the first in the low half
        EXPECT_THAT(high, ::testing::ElementsAre(0x87, 0x0F, 0x12)) << kernels->name;
    }
}

TEST(NumericKernels, ANotANumberIsTheLargest)
{
    for (const NumericKernels* kernels : usableNumericKernels())
        for (const float bad : {std::nanf(""), -std::nanf(""), HUGE_VALF, -HUGE_VALF}) {
            std::vector<float> values(70, 3.0e38f);
            values[41] = bad;
            std::uint32_t largest = 0;
            kernels->magnitudes({values.data(), values.size(), 1}, &largest);
            EXPECT_GE(largest, 0x7F800000u) << kernels->name;
            std::int32_t least = 0;
            std::int32_t greatest = 0;
            kernels->extremes({values.data(), values.size(), 1}, &least, &greatest);
            EXPECT_TRUE(greatest >= 0x7F800000 || least <= orderedBits(0xFF800000u)) << kernels->name << bad;
        }
}

} // namespace
} // namespace shardlens
