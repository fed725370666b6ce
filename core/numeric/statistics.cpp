#include "core/numeric/statistics.h"

#include "core/base/endian.h"
#include "core/numeric/clones.h"
#include "core/numeric/decode.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <utility>

namespace shardlens {
namespace {

constexpr std::size_t kNumbersAtOnce = 2048; // numbers that stay in the first cache from decoding to counting
constexpr std::size_t kFew = 2048;   // codes that are sorted rather than counted in a table
constexpr int kFineBits = 9;         // of the fraction, in the code of a wide value
constexpr std::uint32_t kWideSign = 1u << (8 + kFineBits);
constexpr std::uint32_t kWideCodes = 2 * kWideSign;
constexpr std::uint32_t kNarrowCodes = 1u << 16;
constexpr std::uint64_t kRebias = std::uint64_t{1023 - 127} << kFineBits;
constexpr std::int64_t kLargestWide = (255ll << kFineBits) - 1;

// Doubles side by side, so that sums run in parallel without -ffast-math. Wider ones would be taken apart by the compiler.
using Lanes = double __attribute__((vector_size(32)));
constexpr std::size_t kLanes = 4;

struct ChunkSum {
    double sum = 0;
    double min = std::numeric_limits<double>::infinity();
    double max = -std::numeric_limits<double>::infinity();
};

SHARDLENS_CLONES std::size_t countNonFinite(const double* numbers, std::size_t count)
{
    constexpr std::uint64_t kTop = 0x7FF0000000000000u;
    std::uint64_t found = 0;
    for (std::size_t i = 0; i < count; ++i)
        found += (std::bit_cast<std::uint64_t>(numbers[i]) & kTop) == kTop ? 1u : 0u;
    return found;
}

SHARDLENS_CLONES std::size_t countZeros(const double* numbers, std::size_t count)
{
    std::uint64_t found = 0;
    for (std::size_t i = 0; i < count; ++i)
        found += (std::bit_cast<std::uint64_t>(numbers[i]) << 1) == 0 ? 1u : 0u;
    return found;
}

SHARDLENS_CLONES ChunkSum sumOf(const double* numbers, std::size_t count)
{
    ChunkSum out;
    Lanes sum{};
    Lanes otherSum{}; // two chains of additions, for each waits for its last one
    Lanes low = Lanes{} + out.min;
    Lanes high = Lanes{} + out.max;
    std::size_t i = 0;
    for (; i + 2 * kLanes <= count; i += 2 * kLanes) {
        Lanes x;
        Lanes y;
        std::memcpy(&x, numbers + i, sizeof x);
        std::memcpy(&y, numbers + i + kLanes, sizeof y);
        sum += x;
        otherSum += y;
        const Lanes less = x < y ? x : y;
        const Lanes more = x < y ? y : x;
        low = less < low ? less : low;
        high = more > high ? more : high;
    }
    for (std::size_t k = 0; k < kLanes; ++k) {
        out.sum += sum[k] + otherSum[k];
        out.min = std::min(out.min, low[k]);
        out.max = std::max(out.max, high[k]);
    }
    for (; i < count; ++i) {
        out.sum += numbers[i];
        out.min = std::min(out.min, numbers[i]);
        out.max = std::max(out.max, numbers[i]);
    }
    return out;
}

SHARDLENS_CLONES double squaresAround(double mean, const double* numbers, std::size_t count)
{
    Lanes sum{};
    Lanes otherSum{};
    std::size_t i = 0;
    for (; i + 2 * kLanes <= count; i += 2 * kLanes) {
        Lanes x;
        Lanes y;
        std::memcpy(&x, numbers + i, sizeof x);
        std::memcpy(&y, numbers + i + kLanes, sizeof y);
        x -= mean;
        y -= mean;
        sum += x * x;
        otherSum += y * y;
    }
    double out = 0;
    for (std::size_t k = 0; k < kLanes; ++k)
        out += sum[k] + otherSum[k];
    for (; i < count; ++i)
        out += (numbers[i] - mean) * (numbers[i] - mean);
    return out;
}

// Sign, exponent (of F32's range; beyond it the last one) and the first bits of the fraction. −0 counts as 0.
SHARDLENS_CLONES void wideCodes(const double* numbers, std::uint32_t* codes, std::size_t count)
{
    for (std::size_t i = 0; i < count; ++i) {
        const auto bits = std::bit_cast<std::uint64_t>(numbers[i] + 0.0);
        const auto magnitude = static_cast<std::int64_t>(((bits << 1) >> (53 - kFineBits)) - kRebias);
        const std::int64_t atLeast = magnitude < 0 ? 0 : magnitude;
        const std::int64_t clamped = atLeast > kLargestWide ? kLargestWide : atLeast;
        codes[i] = static_cast<std::uint32_t>(clamped) | (static_cast<std::uint32_t>(bits >> 63) << (8 + kFineBits));
    }
}

double valueOfWide(std::uint32_t code)
{
    const std::uint64_t magnitude = code & (kWideSign - 1);
    const double value = magnitude == 0 ? 0.0 : std::bit_cast<double>((magnitude + kRebias) << (52 - kFineBits));
    return (code & kWideSign) != 0 ? -value : value;
}

// Types of at most 16 bits are counted two bytes at a time and decoded once a code.
bool isNarrow(DType dtype)
{
    const DTypeInfo& known = info(dtype);
    const bool isPlain = known.valuesPerBlock == 1 && known.bytesPerBlock <= 2;
    return isPlain || dtype == DType::F4;
}

void magnitudes(std::span<double> numbers)
{
    for (std::size_t i = 0; i < numbers.size() / 2; ++i) {
        const double re = numbers[2 * i];
        const double im = numbers[2 * i + 1];
        numbers[i] = std::isnan(re) || std::isnan(im) ? std::numeric_limits<double>::quiet_NaN() : std::hypot(re, im);
    }
}

// Counts what is not finite and closes the gaps it leaves.
std::size_t takeNonFinite(std::span<double> numbers, ValueStatistics& out)
{
    std::size_t kept = 0;
    for (const double number : numbers) {
        if (std::isfinite(number))
            numbers[kept++] = number;
        else if (std::isnan(number))
            ++out.nans;
        else
            ++(number > 0 ? out.positiveInfinities : out.negativeInfinities);
    }
    return kept;
}

// Takes moments of `count` other values in (Chan, Golub, LeVeque).
void mergeMoments(ValueStatistics& into, std::uint64_t before, double mean, double squares, std::uint64_t count)
{
    if (count == 0)
        return;
    const auto a = static_cast<double>(before);
    const auto b = static_cast<double>(count);
    const double distance = mean - into.mean;
    into.mean += distance * (b / (a + b));
    into.squares += squares + distance * distance * (a / (a + b)) * b;
}

bool isBelow(const FineBin& a, const FineBin& b)
{
    return a.value < b.value || (a.value == b.value && std::signbit(a.value) && !std::signbit(b.value));
}

// Joins neighbours with equal values. The bins are ascending.
void joinBins(std::vector<FineBin>& bins)
{
    std::size_t last = 0;
    for (std::size_t i = 1; i < bins.size(); ++i) {
        if (isBelow(bins[last], bins[i]))
            bins[++last] = bins[i];
        else
            bins[last].count += bins[i].count;
    }
    bins.resize(bins.empty() ? 0 : last + 1);
}

// Bits of the fraction that tell values of the type apart; narrower bins would stand empty.
int fractionBits(DType dtype)
{
    switch (dtype) {
    case DType::BF16: return 7;
    case DType::F8E4M3:
    case DType::F8E4M3Fnuz:
    case DType::F6E2M3: return 3;
    case DType::F8E5M2:
    case DType::F8E5M2Fnuz:
    case DType::F6E3M2: return 2;
    case DType::F4: return 1;
    case DType::F8E8M0: return 0;
    default: return kFineBits;
    }
}

// The bin that a value lies in, counted from zero: 0 begins at zero, −1 ends there. Exact, for `width` is a power of two.
double binIndex(double value, double width)
{
    const double index = std::floor(std::fabs(value) / width);
    return std::signbit(value) ? -index - 1 : index;
}

double binWidth(const ValueStatistics& statistics, DType dtype, std::size_t limit)
{
    const double low = statistics.bins.front().value;
    const double high = statistics.bins.back().value;
    const double largest = std::max(std::fabs(low), std::fabs(high));
    if (largest == 0)
        return statistics.min == statistics.max ? 1.0 : 0x1p-126;
    int exponent = std::ilogb(largest) - fractionBits(dtype);
    const DTypeKind kind = info(dtype).kind;
    if (kind == DTypeKind::Integer || kind == DTypeKind::Bool || kind == DTypeKind::Quantized)
        exponent = std::max(exponent, 0);
    while (binIndex(high, std::ldexp(1.0, exponent)) - binIndex(low, std::ldexp(1.0, exponent)) + 1 > static_cast<double>(limit))
        ++exponent;
    return std::ldexp(1.0, exponent);
}

} // namespace

double ValueStatistics::deviation() const
{
    return finite() == 0 ? 0 : std::sqrt(squares / static_cast<double>(finite()));
}

void ValueStatistics::merge(const ValueStatistics& other)
{
    mergeMoments(*this, finite(), other.mean, other.squares, other.finite());
    values += other.values;
    zeros += other.zeros;
    nans += other.nans;
    positiveInfinities += other.positiveInfinities;
    negativeInfinities += other.negativeInfinities;
    min = std::min(min, other.min);
    max = std::max(max, other.max);
    const auto middle = static_cast<std::ptrdiff_t>(bins.size());
    bins.insert(bins.end(), other.bins.begin(), other.bins.end());
    std::inplace_merge(bins.begin(), bins.begin() + middle, bins.end(), isBelow);
    joinBins(bins);
}

void StatisticsAccumulator::start(DType dtype)
{
    m_dtype = dtype;
    m_few.clear();
    if (m_counted > kFew) // what was added is not wanted any more
        std::fill(m_counts.begin(), m_counts.end(), 0);
    m_counted = 0;
    m_wide = {};
    m_lastBytes = {};
}

void StatisticsAccumulator::count(std::span<const std::uint32_t> codes)
{
    m_counted += codes.size();
    if (m_counted <= kFew) {
        m_few.insert(m_few.end(), codes.begin(), codes.end());
        return;
    }
    m_counts.resize(kWideCodes);
    for (const std::uint32_t code : m_few)
        ++m_counts[code];
    m_few.clear();
    std::uint32_t* const counts = m_counts.data();
    for (const std::uint32_t code : codes)
        ++counts[code];
}

std::vector<std::pair<std::uint32_t, std::uint64_t>> StatisticsAccumulator::takeCodes()
{
    std::vector<std::pair<std::uint32_t, std::uint64_t>> out;
    std::sort(m_few.begin(), m_few.end());
    for (const std::uint32_t code : m_few) {
        if (out.empty() || out.back().first != code)
            out.emplace_back(code, 0);
        ++out.back().second;
    }
    m_few.clear();
    const std::uint32_t codes = std::exchange(m_counted, 0) <= kFew ? 0 : isNarrow(m_dtype) ? kNarrowCodes : kWideCodes;
    for (std::uint32_t code = 0; code < codes; ++code)
        if (m_counts[code] != 0) {
            out.emplace_back(code, m_counts[code]);
            m_counts[code] = 0;
        }
    return out;
}

void StatisticsAccumulator::countWords(const std::byte* source, std::size_t bytes)
{
    std::array<std::uint32_t, kNumbersAtOnce> codes;
    for (std::size_t at = 0; at + 1 < bytes; at += 2 * kNumbersAtOnce) {
        const std::size_t n = std::min(kNumbersAtOnce, (bytes - at) / 2);
        for (std::size_t i = 0; i < n; ++i)
            codes[i] = loadLe16(source + at + 2 * i);
        count(std::span(codes).first(n));
    }
    if (bytes % 2 != 0)
        ++m_lastBytes[static_cast<std::uint8_t>(source[bytes - 1])];
}

void StatisticsAccumulator::addNumbers(std::span<double> numbers)
{
    const std::uint64_t before = m_wide.finite();
    m_wide.values += numbers.size();
    if (countNonFinite(numbers.data(), numbers.size()) > 0)
        numbers = numbers.first(takeNonFinite(numbers, m_wide));
    if (numbers.empty())
        return;
    const ChunkSum sum = sumOf(numbers.data(), numbers.size());
    const double mean = sum.sum / static_cast<double>(numbers.size());
    mergeMoments(m_wide, before, mean, squaresAround(mean, numbers.data(), numbers.size()), numbers.size());
    m_wide.zeros += countZeros(numbers.data(), numbers.size());
    m_wide.min = std::min(m_wide.min, sum.min);
    m_wide.max = std::max(m_wide.max, sum.max);
    std::array<std::uint32_t, kNumbersAtOnce> codes;
    wideCodes(numbers.data(), codes.data(), numbers.size());
    count(std::span(codes).first(numbers.size()));
}

void StatisticsAccumulator::add(const std::byte* source, std::size_t values)
{
    const DTypeInfo& known = info(m_dtype);
    if (isNarrow(m_dtype))
        return countWords(source, values / known.valuesPerBlock * known.bytesPerBlock);
    std::array<double, kNumbersAtOnce> numbers;
    const std::size_t perValue = numbersPerValue(m_dtype);
    const std::size_t step = kNumbersAtOnce / perValue;
    for (std::size_t at = 0; at < values; at += step) {
        const std::size_t n = std::min(step, values - at);
        decodeValues(m_dtype, source + at / known.valuesPerBlock * known.bytesPerBlock, numbers.data(), n);
        if (perValue == 2)
            magnitudes(std::span(numbers).first(2 * n));
        addNumbers(std::span(numbers).first(n));
    }
}

void StatisticsAccumulator::finishWide(ValueStatistics& out)
{
    out = std::move(m_wide);
    const auto codes = takeCodes(); // ascending: positive values, then negative ones downwards
    out.bins.reserve(codes.size());
    const auto negative = std::lower_bound(codes.begin(), codes.end(), kWideSign, [](const auto& one, std::uint32_t code) { return one.first < code; });
    for (auto one = codes.end(); one != negative; --one)
        out.bins.push_back({valueOfWide(one[-1].first), one[-1].second});
    for (auto one = codes.begin(); one != negative; ++one)
        out.bins.push_back({valueOfWide(one->first), one->second});
}

void StatisticsAccumulator::finishNarrow(ValueStatistics& out)
{
    const DTypeInfo& known = info(m_dtype);
    std::array<std::uint64_t, 256> ofBytes = m_lastBytes;
    const auto take = [&](std::byte* block, std::uint64_t count) {
        std::array<double, 2> numbers;
        decodeValues(m_dtype, block, numbers.data(), known.valuesPerBlock);
        for (std::size_t k = 0; k < known.valuesPerBlock; ++k) {
            const double number = numbers[k] + 0.0; // −0 becomes 0
            out.values += count;
            if (std::isnan(number))
                out.nans += count;
            else if (std::isinf(number))
                (number > 0 ? out.positiveInfinities : out.negativeInfinities) += count;
            else
                out.bins.push_back({number, count});
        }
    };
    for (const auto& [code, count] : takeCodes()) {
        std::array<std::byte, 2> block{};
        storeLe(block.data(), static_cast<std::uint16_t>(code));
        if (known.bytesPerBlock == 2) {
            take(block.data(), count);
            continue;
        }
        ofBytes[static_cast<std::uint8_t>(block[0])] += count;
        ofBytes[static_cast<std::uint8_t>(block[1])] += count;
    }
    for (std::size_t code = 0; code < ofBytes.size(); ++code)
        if (auto byte = static_cast<std::byte>(code); ofBytes[code] != 0)
            take(&byte, ofBytes[code]);
    std::sort(out.bins.begin(), out.bins.end(), isBelow);
    joinBins(out.bins);
    if (out.bins.empty())
        return;
    out.min = out.bins.front().value;
    out.max = out.bins.back().value;
    long double sum = 0;
    for (const FineBin& bin : out.bins) {
        sum += static_cast<long double>(bin.value) * static_cast<long double>(bin.count);
        out.zeros += bin.value == 0 ? bin.count : 0;
    }
    const long double mean = sum / static_cast<long double>(out.finite());
    long double squares = 0;
    for (const FineBin& bin : out.bins)
        squares += (bin.value - mean) * (bin.value - mean) * static_cast<long double>(bin.count);
    out.mean = static_cast<double>(mean);
    out.squares = static_cast<double>(squares);
}

ValueStatistics StatisticsAccumulator::finish()
{
    ValueStatistics out;
    if (isNarrow(m_dtype))
        finishNarrow(out);
    else
        finishWide(out);
    start(m_dtype);
    return out;
}

std::vector<HistogramBin> histogramOf(const ValueStatistics& statistics, DType dtype, std::size_t limit)
{
    if (statistics.bins.empty())
        return {};
    const double width = binWidth(statistics, dtype, std::max<std::size_t>(limit, 2));
    const double first = binIndex(statistics.bins.front().value, width);
    const double last = binIndex(statistics.bins.back().value, width);
    std::vector<HistogramBin> out(static_cast<std::size_t>(last - first) + 1);
    for (std::size_t i = 0; i < out.size(); ++i) {
        out[i].begin = (first + static_cast<double>(i)) * width;
        out[i].end = (first + static_cast<double>(i) + 1) * width;
    }
    for (const FineBin& bin : statistics.bins)
        out[static_cast<std::size_t>(binIndex(bin.value, width) - first)].count += bin.count;
    // 64-bit values beyond the range of F32 share the outermost fine bins
    out.front().begin = std::min(out.front().begin, statistics.min);
    out.back().end = std::max(out.back().end, statistics.max);
    return out;
}

} // namespace shardlens
