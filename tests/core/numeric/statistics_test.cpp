#include "core/numeric/statistics.h"

#include "core/numeric/cast.h"
#include "core/numeric/decode.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <random>
#include <sstream>
#include <vector>

namespace shardlens {
namespace {

constexpr double kNotANumber = std::numeric_limits<double>::quiet_NaN();
constexpr double kInfinite = std::numeric_limits<double>::infinity();

template <typename T>
std::vector<std::byte> bytesOfValues(const std::vector<T>& values)
{
    std::vector<std::byte> out(values.size() * sizeof(T));
    std::memcpy(out.data(), values.data(), out.size());
    return out;
}

ValueStatistics statisticsOfBytes(DType dtype, const std::vector<std::byte>& bytes, std::size_t valuesAtOnce = 1u << 20)
{
    StatisticsAccumulator accumulator;
    accumulator.start(dtype);
    const DTypeInfo& known = info(dtype);
    const std::size_t values = bytes.size() / known.bytesPerBlock * known.valuesPerBlock;
    for (std::size_t at = 0; at < values; at += valuesAtOnce)
        accumulator.add(bytes.data() + at / known.valuesPerBlock * known.bytesPerBlock, std::min(valuesAtOnce, values - at));
    return accumulator.finish();
}

template <typename T>
ValueStatistics statisticsOfValues(DType dtype, const std::vector<T>& values)
{
    return statisticsOfBytes(dtype, bytesOfValues(values));
}

std::string lines(const std::vector<HistogramBin>& bins)
{
    std::ostringstream out;
    for (const HistogramBin& bin : bins)
        out << bin.begin << " " << bin.end << " " << bin.count << "\n";
    return out.str();
}

TEST(Statistics, CountsWhatIsSpecialAndTakesMomentsOfTheRest)
{
    const ValueStatistics found = statisticsOfValues<float>(DType::F32, {1, -0.0f, 0, 3, static_cast<float>(kNotANumber), static_cast<float>(kInfinite), -static_cast<float>(kInfinite), -static_cast<float>(kInfinite), 4});
    EXPECT_EQ(found.values, 9u);
    EXPECT_EQ(found.finite(), 5u);
    EXPECT_EQ(found.zeros, 2u);
    EXPECT_EQ(found.nans, 1u);
    EXPECT_EQ(found.positiveInfinities, 1u);
    EXPECT_EQ(found.negativeInfinities, 2u);
    EXPECT_EQ(found.min, 0);
    EXPECT_EQ(found.max, 4);
    EXPECT_DOUBLE_EQ(found.mean, 1.6);
    EXPECT_DOUBLE_EQ(found.deviation(), std::sqrt((0.36 + 2.56 + 2.56 + 1.96 + 5.76) / 5));
}

TEST(Statistics, OfNothingFiniteHasNoExtremes)
{
    for (const DType dtype : {DType::F32, DType::BF16}) {
        const ValueStatistics found = statisticsOfBytes(dtype, {});
        EXPECT_EQ(found.values, 0u);
        EXPECT_GT(found.min, found.max);
        EXPECT_EQ(found.deviation(), 0);
        EXPECT_TRUE(histogramOf(found, dtype, 64).empty());
    }
    const ValueStatistics nan = statisticsOfValues<double>(DType::F64, {kNotANumber, kNotANumber});
    EXPECT_EQ(nan.nans, 2u);
    EXPECT_EQ(nan.finite(), 0u);
    EXPECT_TRUE(histogramOf(nan, DType::F64, 64).empty());
}

TEST(Statistics, KeepsSmallDeviationsOfLargeNumbers)
{
    // sums of squares in double lose all of this
    std::vector<double> values;
    for (int i = 0; i < 100'000; ++i)
        values.push_back(1e9 + (i % 2 == 0 ? 0.25 : -0.25));
    const ValueStatistics found = statisticsOfValues(DType::F64, values);
    EXPECT_DOUBLE_EQ(found.mean, 1e9);
    EXPECT_NEAR(found.deviation(), 0.25, 1e-9);
}

TEST(Statistics, CountComplexValuesByTheirMagnitude)
{
    const ValueStatistics found = statisticsOfValues<float>(DType::C64, {3, 4, 0, 0, static_cast<float>(kNotANumber), 1, -6, 8});
    EXPECT_EQ(found.values, 4u);
    EXPECT_EQ(found.nans, 1u);
    EXPECT_EQ(found.zeros, 1u);
    EXPECT_EQ(found.max, 10);
    EXPECT_EQ(found.mean, 5);
}

TEST(Statistics, CanBeStartedAnewWithoutTheRest)
{
    StatisticsAccumulator accumulator;
    const auto many = bytesOfValues(std::vector<float>(10'000, 7.0f));
    accumulator.start(DType::F32);
    accumulator.add(many.data(), 10'000);
    accumulator.start(DType::F32);
    const auto two = bytesOfValues(std::vector<float>{1, 2});
    accumulator.add(two.data(), 2);
    const ValueStatistics found = accumulator.finish();
    EXPECT_EQ(found.values, 2u);
    ASSERT_EQ(found.bins.size(), 2u);
    EXPECT_EQ(found.bins[0].count + found.bins[1].count, 2u);
}

// Plain two-pass answers in long double.
struct Naive {
    std::uint64_t zeros = 0;
    std::uint64_t nans = 0;
    std::uint64_t positive = 0;
    std::uint64_t negative = 0;
    long double mean = 0;
    long double squares = 0;
    std::vector<double> finite;
};

Naive naiveOf(DType dtype, const std::vector<std::byte>& bytes)
{
    std::vector<double> numbers(bytes.size() / info(dtype).bytesPerBlock * info(dtype).valuesPerBlock);
    decodeValues(dtype, bytes.data(), numbers.data(), numbers.size());
    Naive out;
    for (const double number : numbers) {
        out.nans += std::isnan(number) ? 1 : 0;
        out.positive += number == kInfinite ? 1 : 0;
        out.negative += number == -kInfinite ? 1 : 0;
        out.zeros += number == 0 ? 1 : 0;
        if (std::isfinite(number))
            out.finite.push_back(number);
    }
    for (const double number : out.finite)
        out.mean += number;
    out.mean /= static_cast<long double>(out.finite.size());
    for (const double number : out.finite)
        out.squares += (number - out.mean) * (number - out.mean);
    return out;
}

// Random values of ordinary size: random bits of wide floats would be dominated by the largest one.
std::vector<std::byte> randomBytes(DType dtype, std::size_t blocks, std::uint64_t seed)
{
    std::mt19937_64 random(seed);
    std::vector<std::byte> out(blocks * info(dtype).bytesPerBlock);
    for (std::byte& byte : out)
        byte = static_cast<std::byte>(random());
    std::normal_distribution<double> normal(0.01, 0.7);
    for (std::size_t i = 0; i < blocks; ++i) {
        if (dtype == DType::F32) {
            const auto value = static_cast<float>(i % 1000 == 7 ? kInfinite : normal(random));
            std::memcpy(out.data() + 4 * i, &value, 4);
        } else if (dtype == DType::F64) {
            const double value = i % 1000 == 9 ? kNotANumber : normal(random);
            std::memcpy(out.data() + 8 * i, &value, 8);
        }
    }
    return out;
}

class StatisticsOfEvery : public testing::TestWithParam<DType> {};

TEST_P(StatisticsOfEvery, AgreeWithTwoPlainPasses)
{
    const DType dtype = GetParam();
    const auto bytes = randomBytes(dtype, 30'001, 11);
    const Naive naive = naiveOf(dtype, bytes);
    for (const std::size_t atOnce : {std::size_t{1} << 20, std::size_t{1004}}) {
        const ValueStatistics found = statisticsOfBytes(dtype, bytes, atOnce);
        EXPECT_EQ(found.zeros, naive.zeros);
        EXPECT_EQ(found.nans, naive.nans);
        EXPECT_EQ(found.positiveInfinities, naive.positive);
        EXPECT_EQ(found.negativeInfinities, naive.negative);
        ASSERT_EQ(found.finite(), naive.finite.size());
        EXPECT_EQ(found.min, *std::min_element(naive.finite.begin(), naive.finite.end()));
        EXPECT_EQ(found.max, *std::max_element(naive.finite.begin(), naive.finite.end()));
        const double spread = std::sqrt(static_cast<double>(naive.squares) / static_cast<double>(naive.finite.size()));
        EXPECT_NEAR(found.mean, static_cast<double>(naive.mean), spread * 1e-12);
        EXPECT_NEAR(found.deviation(), spread, spread * 1e-12);
    }
}

// The end nearer to zero belongs to a bin; zero to the one above it.
std::uint64_t countIn(const std::vector<double>& numbers, const HistogramBin& bin)
{
    std::uint64_t out = 0;
    for (const double number : numbers)
        if (bin.begin >= 0)
            out += number >= bin.begin && number < bin.end ? 1 : 0;
        else
            out += number <= bin.end && number != 0 && number > bin.begin ? 1 : 0;
    return out;
}

TEST_P(StatisticsOfEvery, HaveExactHistograms)
{
    const DType dtype = GetParam();
    const auto bytes = randomBytes(dtype, 30'001, 12);
    const Naive naive = naiveOf(dtype, bytes);
    for (const std::size_t limit : {64u, 7u, 2u}) {
        const auto bins = histogramOf(statisticsOfBytes(dtype, bytes), dtype, limit);
        ASSERT_LE(bins.size(), limit);
        for (std::size_t i = 0; i < bins.size(); ++i) {
            EXPECT_TRUE(i == 0 || bins[i].begin == bins[i - 1].end);
            EXPECT_EQ(bins[i].count, countIn(naive.finite, bins[i])) << bins[i].begin << " to " << bins[i].end;
        }
        std::uint64_t sum = 0;
        for (const HistogramBin& bin : bins)
            sum += bin.count;
        EXPECT_EQ(sum, naive.finite.size());
    }
}

TEST_P(StatisticsOfEvery, AreTheSameFromMergedParts)
{
    const DType dtype = GetParam();
    const auto bytes = randomBytes(dtype, 20'000, 13);
    const std::size_t cut = std::size_t{4'444} * info(dtype).bytesPerBlock;
    const ValueStatistics whole = statisticsOfBytes(dtype, bytes);
    ValueStatistics merged = statisticsOfBytes(dtype, {bytes.begin(), bytes.begin() + static_cast<std::ptrdiff_t>(cut)});
    merged.merge(statisticsOfBytes(dtype, {bytes.begin() + static_cast<std::ptrdiff_t>(cut), bytes.end()}));
    EXPECT_EQ(merged.values, whole.values);
    EXPECT_EQ(merged.nans, whole.nans);
    EXPECT_EQ(merged.min, whole.min);
    EXPECT_EQ(merged.max, whole.max);
    EXPECT_NEAR(merged.mean, whole.mean, whole.deviation() * 1e-12);
    EXPECT_NEAR(merged.deviation(), whole.deviation(), whole.deviation() * 1e-12);
    EXPECT_EQ(lines(histogramOf(merged, dtype, 64)), lines(histogramOf(whole, dtype, 64)));
}

std::vector<DType> realTypes()
{
    std::vector<DType> out;
    for (const DTypeInfo& known : allDTypes())
        if (known.kind != DTypeKind::Complex)
            out.push_back(known.dtype);
    return out;
}

INSTANTIATE_TEST_SUITE_P(DType, StatisticsOfEvery, testing::ValuesIn(realTypes()), [](const auto& row) { return std::string(nameOf(row.param)); });

TEST(Histogram, PutsTheEndNearerToZeroIntoABin)
{
    const ValueStatistics found = statisticsOfValues<float>(DType::F32, {-2, -1, -1, -0.5f, 0, 1, 1, 1, 2.75f});
    EXPECT_EQ(lines(histogramOf(found, DType::F32, 6)), "-3 -2 1\n-2 -1 2\n-1 0 1\n0 1 1\n1 2 3\n2 3 1\n");
}

TEST(Histogram, OfEqualValuesIsOneBin)
{
    const ValueStatistics zeros = statisticsOfValues<float>(DType::F32, std::vector<float>(5'000, 0.0f));
    EXPECT_EQ(lines(histogramOf(zeros, DType::F32, 64)), "0 1 5000\n");
    const ValueStatistics ones = statisticsOfValues<std::int32_t>(DType::I32, std::vector<std::int32_t>(5'000, -4));
    EXPECT_EQ(lines(histogramOf(ones, DType::I32, 64)), "-5 -4 5000\n");
}

TEST(Histogram, OfIntegersHasBinsOfOneAtLeast)
{
    const ValueStatistics found = statisticsOfValues<std::int64_t>(DType::I64, {0, 1, 1, 2, 3, 3, 3});
    EXPECT_EQ(lines(histogramOf(found, DType::I64, 64)), "0 1 1\n1 2 2\n2 3 1\n3 4 3\n");
}

TEST(Histogram, TakesInWhatIsBeyondTheRangeOfFloat)
{
    const ValueStatistics found = statisticsOfValues<double>(DType::F64, {-1e300, 0, 1e-300, 1e300});
    const auto bins = histogramOf(found, DType::F64, 8);
    EXPECT_EQ(bins.front().begin, -1e300);
    EXPECT_EQ(bins.back().end, 1e300);
    EXPECT_EQ(bins.front().count, 1u);
    EXPECT_EQ(bins.back().count, 1u);
}

} // namespace
} // namespace shardlens
