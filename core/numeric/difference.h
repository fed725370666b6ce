#pragma once

#include "core/model/dtype.h"

#include <cstddef>
#include <cstdint>
#include <optional>

namespace shardlens {

// Two values are within it where |a − b| ≤ absolute, or |a − b| ≤ relative · max(|a|, |b|).
struct Tolerance {
    double absolute = 0;
    double relative = 0;
};

// How two lists of values differ. Errors and the cosine are of the pairs in which both are finite; relative errors count from the larger magnitude,
// so that they are at most 2 and zeros do no harm.
struct ValueDifference {
    std::uint64_t values = 0;
    std::uint64_t differing = 0;        // beyond the tolerance
    std::uint64_t nonFinite = 0;        // of those: pairs with a NaN or Inf in them
    std::optional<std::uint64_t> first; // the first differing value, counted from the beginning of the lists
    double maxAbsolute = 0;
    double maxRelative = 0;
    double dot = 0;
    double squaresA = 0;
    double squaresB = 0;

    // Nothing where one side has no length (all zeros), or one beyond double's range.
    [[nodiscard]] std::optional<double> cosine() const;
    // Takes in the values that follow.
    void append(const ValueDifference& next);
};

// Dtypes may differ: values are compared as numbers (64-bit integers exactly). Of one dtype a NaN equals another of the same bits, of two dtypes every
// NaN. −0 equals 0. A complex value differs by the magnitude of the difference. `values` must fill whole blocks of both.
[[nodiscard]] ValueDifference compareValues(DType dtypeA, const std::byte* a, DType dtypeB, const std::byte* b, std::size_t values, const Tolerance& tolerance);

} // namespace shardlens
