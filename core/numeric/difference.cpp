#include "core/numeric/difference.h"

#include "core/base/endian.h"
#include "core/numeric/clones.h"
#include "core/numeric/decode.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <complex>
#include <utility>

namespace shardlens {
namespace {

constexpr std::size_t kPairsAtOnce = 1024; // both sides stay in the first cache

using PairLanes = double __attribute__((vector_size(32)));
using MaskLanes = long long __attribute__((vector_size(32)));
constexpr std::size_t kPairLanes = 4;

// Sums of the pairs of one chunk.
struct PairSums {
    double dot = 0;
    double squaresA = 0;
    double squaresB = 0;
    double maxAbsolute = 0;
    double maxRelative = 0;
    std::uint64_t differing = 0;
};

// Finite numbers only; what does not fill the lanes is filled up with pairs of zeros.
SHARDLENS_CLONES PairSums pairSums(const double* a, const double* b, std::size_t count, double absolute, double relative)
{
    PairLanes dot{};
    PairLanes squaresA{};
    PairLanes squaresB{};
    PairLanes maxAbsolute{};
    PairLanes maxRelative{};
    MaskLanes differing{};
    for (std::size_t i = 0; i < count; i += kPairLanes) {
        PairLanes x{};
        PairLanes y{};
        const std::size_t bytes = std::min(kPairLanes, count - i) * sizeof(double);
        if (bytes == sizeof x) { // a copy of known size is one load
            std::memcpy(&x, a + i, sizeof x);
            std::memcpy(&y, b + i, sizeof y);
        } else {
            std::memcpy(&x, a + i, bytes);
            std::memcpy(&y, b + i, bytes);
        }
        const PairLanes step = x - y;
        const PairLanes distance = step < 0 ? -step : step;
        const PairLanes sizeX = x < 0 ? -x : x;
        const PairLanes sizeY = y < 0 ? -y : y;
        const PairLanes larger = sizeX < sizeY ? sizeY : sizeX;
        const PairLanes error = distance / (larger == 0 ? larger + 1 : larger);
        dot += x * y;
        squaresA += x * x;
        squaresB += y * y;
        maxAbsolute = distance > maxAbsolute ? distance : maxAbsolute;
        maxRelative = error > maxRelative ? error : maxRelative;
        differing -= (distance > absolute) & (distance > relative * larger); // a true lane is −1
    }
    PairSums out;
    for (std::size_t k = 0; k < kPairLanes; ++k) {
        out.dot += dot[k];
        out.squaresA += squaresA[k];
        out.squaresB += squaresB[k];
        out.maxAbsolute = std::max(out.maxAbsolute, maxAbsolute[k]);
        out.maxRelative = std::max(out.maxRelative, maxRelative[k]);
        out.differing += static_cast<std::uint64_t>(differing[k]);
    }
    return out;
}

SHARDLENS_CLONES double squaresOf(const double* numbers, std::size_t count)
{
    PairLanes sum{};
    PairLanes otherSum{};
    std::size_t i = 0;
    for (; i + 2 * kPairLanes <= count; i += 2 * kPairLanes) {
        PairLanes x;
        PairLanes y;
        std::memcpy(&x, numbers + i, sizeof x);
        std::memcpy(&y, numbers + i + kPairLanes, sizeof y);
        sum += x * x;
        otherSum += y * y;
    }
    double out = 0;
    for (std::size_t k = 0; k < kPairLanes; ++k)
        out += sum[k] + otherSum[k];
    for (; i < count; ++i)
        out += numbers[i] * numbers[i];
    return out;
}

SHARDLENS_CLONES bool areAllFinite(const double* numbers, std::size_t count)
{
    constexpr std::uint64_t kTop = 0x7FF0000000000000u;
    std::uint64_t beyond = 0;
    for (std::size_t i = 0; i < count; ++i)
        beyond += (std::bit_cast<std::uint64_t>(numbers[i]) & kTop) == kTop ? 1u : 0u;
    return beyond == 0;
}

bool isWideInteger(DType dtype)
{
    return dtype == DType::I64 || dtype == DType::U64;
}

// |x − y| of 64-bit integers: beyond 2^53 their doubles do not tell neighbours apart.
double wideIntegerDistance(DType dtypeA, const std::byte* a, DType dtypeB, const std::byte* b)
{
    const std::uint64_t x = loadLe64(a);
    const std::uint64_t y = loadLe64(b);
    const bool isNegativeX = dtypeA == DType::I64 && static_cast<std::int64_t>(x) < 0;
    const bool isNegativeY = dtypeB == DType::I64 && static_cast<std::int64_t>(y) < 0;
    if (isNegativeX == isNegativeY)
        return static_cast<double>(x < y ? y - x : x - y);
    return isNegativeX ? static_cast<double>(y) + static_cast<double>(0 - x) : static_cast<double>(x) + static_cast<double>(0 - y);
}

using Number = std::complex<double>;

Number numberAt(const double* numbers, std::size_t i, std::size_t perValue)
{
    return perValue == 2 ? Number(numbers[2 * i], numbers[2 * i + 1]) : Number(numbers[i], 0);
}

bool isFiniteNumber(const Number& number)
{
    return std::isfinite(number.real()) && std::isfinite(number.imag());
}

bool sameOrBothNan(const Number& a, const Number& b)
{
    const auto same = [](double x, double y) { return x == y || (std::isnan(x) && std::isnan(y)); };
    return same(a.real(), b.real()) && same(a.imag(), b.imag());
}

// Values of one chunk beside their bytes; bytes may be looked at one value at a time where the dtype is no block type.
struct Side {
    DType dtype;
    const std::byte* bytes;
    const double* numbers;

    [[nodiscard]] const std::byte* at(std::size_t i) const { return bytes + i * info(dtype).bytesPerBlock; }
    [[nodiscard]] Number number(std::size_t i) const { return numberAt(numbers, i, numbersPerValue(dtype)); }
};

double distanceOf(const Side& a, const Side& b, std::size_t i)
{
    return isWideInteger(a.dtype) && isWideInteger(b.dtype) ? wideIntegerDistance(a.dtype, a.at(i), b.dtype, b.at(i)) : std::abs(a.number(i) - b.number(i));
}

enum class Verdict : std::uint8_t { Equal, Differs, NonFiniteDiffers };

Verdict judge(const Side& a, const Side& b, std::size_t i, const Tolerance& tolerance)
{
    const Number x = a.number(i);
    const Number y = b.number(i);
    if (!isFiniteNumber(x) || !isFiniteNumber(y)) {
        const bool isOfBits = a.dtype == b.dtype && info(a.dtype).valuesPerBlock == 1;
        if (isOfBits && (std::isnan(x.real()) || std::isnan(x.imag())))
            return std::memcmp(a.at(i), b.at(i), info(a.dtype).bytesPerBlock) == 0 ? Verdict::Equal : Verdict::NonFiniteDiffers;
        return sameOrBothNan(x, y) ? Verdict::Equal : Verdict::NonFiniteDiffers;
    }
    const double distance = distanceOf(a, b, i);
    return distance > tolerance.absolute && distance > tolerance.relative * std::max(std::abs(x), std::abs(y)) ? Verdict::Differs : Verdict::Equal;
}

// Any dtypes, any values, one by one.
void compareOneByOne(const Side& a, const Side& b, std::size_t count, const Tolerance& tolerance, ValueDifference& out)
{
    for (std::size_t i = 0; i < count; ++i) {
        const Verdict verdict = judge(a, b, i, tolerance);
        if (verdict != Verdict::Equal) {
            ++out.differing;
            out.nonFinite += verdict == Verdict::NonFiniteDiffers ? 1 : 0;
            if (!out.first)
                out.first = out.values + i;
        }
        const Number x = a.number(i);
        const Number y = b.number(i);
        if (!isFiniteNumber(x) || !isFiniteNumber(y))
            continue;
        const double larger = std::max(std::abs(x), std::abs(y));
        const double distance = distanceOf(a, b, i);
        out.maxAbsolute = std::max(out.maxAbsolute, distance);
        out.maxRelative = std::max(out.maxRelative, larger == 0 ? 0 : distance / larger);
        out.dot += (x * std::conj(y)).real();
        out.squaresA += std::norm(x);
        out.squaresB += std::norm(y);
    }
}

void compareFinite(const Side& a, const Side& b, std::size_t count, const Tolerance& tolerance, ValueDifference& out)
{
    const PairSums sums = pairSums(a.numbers, b.numbers, count, tolerance.absolute, tolerance.relative);
    out.dot += sums.dot;
    out.squaresA += sums.squaresA;
    out.squaresB += sums.squaresB;
    out.maxAbsolute = std::max(out.maxAbsolute, sums.maxAbsolute);
    out.maxRelative = std::max(out.maxRelative, sums.maxRelative);
    out.differing += sums.differing;
    for (std::size_t i = 0; sums.differing > 0 && !out.first && i < count; ++i)
        if (judge(a, b, i, tolerance) != Verdict::Equal)
            out.first = out.values + i;
}

// Equal bytes: nothing differs, but the cosine counts them too.
void takeEqual(const double* numbers, std::size_t count, ValueDifference& out)
{
    double squares = 0;
    if (areAllFinite(numbers, count)) {
        squares = squaresOf(numbers, count);
    } else {
        for (std::size_t i = 0; i < count; ++i)
            squares += std::isfinite(numbers[i]) ? numbers[i] * numbers[i] : 0;
    }
    out.dot += squares;
    out.squaresA += squares;
    out.squaresB += squares;
}

} // namespace

std::optional<double> ValueDifference::cosine() const
{
    const double length = std::sqrt(squaresA) * std::sqrt(squaresB);
    if (!(length > 0) || !std::isfinite(length) || !std::isfinite(dot))
        return std::nullopt;
    return std::clamp(dot / length, -1.0, 1.0);
}

void ValueDifference::append(const ValueDifference& next)
{
    if (!first && next.first)
        first = values + *next.first;
    values += next.values;
    differing += next.differing;
    nonFinite += next.nonFinite;
    maxAbsolute = std::max(maxAbsolute, next.maxAbsolute);
    maxRelative = std::max(maxRelative, next.maxRelative);
    dot += next.dot;
    squaresA += next.squaresA;
    squaresB += next.squaresB;
}

ValueDifference compareValues(DType dtypeA, const std::byte* a, DType dtypeB, const std::byte* b, std::size_t values, const Tolerance& tolerance)
{
    const DTypeInfo& knownA = info(dtypeA);
    const DTypeInfo& knownB = info(dtypeB);
    const bool isPlain = numbersPerValue(dtypeA) == 1 && numbersPerValue(dtypeB) == 1 && !(isWideInteger(dtypeA) && isWideInteger(dtypeB));
    std::array<double, 2 * kPairsAtOnce> numbersA;
    std::array<double, 2 * kPairsAtOnce> numbersB;
    ValueDifference out;
    for (std::size_t at = 0; at < values; at += kPairsAtOnce) {
        const std::size_t n = std::min(kPairsAtOnce, values - at);
        const Side sideA{dtypeA, a + at / knownA.valuesPerBlock * knownA.bytesPerBlock, numbersA.data()};
        const Side sideB{dtypeB, b + at / knownB.valuesPerBlock * knownB.bytesPerBlock, numbersB.data()};
        decodeValues(dtypeA, sideA.bytes, numbersA.data(), n);
        if (dtypeA == dtypeB && std::memcmp(sideA.bytes, sideB.bytes, n / knownA.valuesPerBlock * knownA.bytesPerBlock) == 0) {
            takeEqual(numbersA.data(), n * numbersPerValue(dtypeA), out);
        } else {
            decodeValues(dtypeB, sideB.bytes, numbersB.data(), n);
            if (isPlain && areAllFinite(numbersA.data(), n) && areAllFinite(numbersB.data(), n))
                compareFinite(sideA, sideB, n, tolerance, out);
            else
                compareOneByOne(sideA, sideB, n, tolerance, out);
        }
        out.values += n;
    }
    return out;
}

} // namespace shardlens
