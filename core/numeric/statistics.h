#pragma once

#include "core/model/dtype.h"

#include <array>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <span>
#include <vector>

namespace shardlens {

// Values that are told apart no further: of 16 bits and less all that are equal, of wider types those that share sign, exponent and the first 9 bits
// of the fraction. The limit nearer to zero stands for them, with their sign.
struct FineBin {
    double value = 0;
    std::uint64_t count = 0;
};

// What is known of many values. min … squares are of the finite ones only; complex values count by their magnitude.
struct ValueStatistics {
    std::uint64_t values = 0;
    std::uint64_t zeros = 0;
    std::uint64_t nans = 0;
    std::uint64_t positiveInfinities = 0;
    std::uint64_t negativeInfinities = 0;
    double min = std::numeric_limits<double>::infinity(); // min > max: no finite value
    double max = -std::numeric_limits<double>::infinity();
    double mean = 0;
    double squares = 0;        // sum of squared distances from the mean
    std::vector<FineBin> bins; // ascending; finite values only

    [[nodiscard]] std::uint64_t finite() const { return values - nans - positiveInfinities - negativeInfinities; }
    // The population's standard deviation (divided by n); 0 without values.
    [[nodiscard]] double deviation() const;
    // Takes in the statistics of other values of the same tensor.
    void merge(const ValueStatistics& other);
};

// Gathers statistics in one pass, at the speed of memory. One thread each; a few hundred KiB.
class StatisticsAccumulator {
public:
    // Statistics of values of `dtype` begin.
    void start(DType dtype);
    // Whole blocks of the dtype; at most 2^31 values between start() and finish().
    void add(const std::byte* source, std::size_t values);
    [[nodiscard]] ValueStatistics finish();

private:
    void count(std::span<const std::uint32_t> codes);
    void countWords(const std::byte* source, std::size_t bytes);
    void addNumbers(std::span<double> numbers);
    void finishNarrow(ValueStatistics& out);
    void finishWide(ValueStatistics& out);
    [[nodiscard]] std::vector<std::pair<std::uint32_t, std::uint64_t>> takeCodes();

    DType m_dtype = DType::U8;
    std::size_t m_counted = 0;           // codes since start()
    std::vector<std::uint32_t> m_few;    // the codes themselves, while they are few
    std::vector<std::uint32_t> m_counts; // by code, else
    std::array<std::uint64_t, 256> m_lastBytes{}; // of narrow types: bytes that fill no word
    ValueStatistics m_wide;
};

struct HistogramBin {
    double begin = 0;
    double end = 0;
    std::uint64_t count = 0;
};

// Bins of one width, a power of two, from the least to the greatest finite value; adjoining, at least one where there is a finite value.
// Counts are exact: a bin holds its end nearer to zero. At most `limit` (at least 2) bins.
[[nodiscard]] std::vector<HistogramBin> histogramOf(const ValueStatistics& statistics, DType dtype, std::size_t limit);

} // namespace shardlens
