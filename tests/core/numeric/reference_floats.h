#pragma once

#include "core/model/dtype.h"

#include <cstdint>
#include <string>
#include <vector>

namespace shardlens::test {

// A floating-point format below 32 bits as a table of all its finite values from 0 up, and rounding by looking for the nearest one: slow, plain, and
// without a line in common with core/numeric.
class ReferenceFloat {
public:
    enum class Beyond : std::uint8_t { Infinity, Nan }; // what values beyond the largest become

    // Exponent and mantissa bits, bias, and how many codes at the top are no finite numbers.
    ReferenceFloat(DType dtype, int exponentBits, int mantissaBits, int bias, std::uint32_t codesAtTop, Beyond beyond);

    [[nodiscard]] DType dtype() const { return m_dtype; }
    [[nodiscard]] std::uint32_t signBit() const { return m_signBit; }
    [[nodiscard]] const std::vector<double>& values() const { return m_values; } // by code
    [[nodiscard]] double largest() const { return m_values.back(); }
    // What a finite value becomes: "code 0x7E", or "inf", "-inf", "nan".
    [[nodiscard]] std::string rounded(double value) const;
    // The same words for a code of the format.
    [[nodiscard]] std::string words(std::uint32_t code) const;

private:
    DType m_dtype;
    std::uint32_t m_signBit;
    std::vector<double> m_values;
    double m_after; // where the next value would be if there were one
    Beyond m_beyond;
};

// F16, BF16 and the four F8 types.
[[nodiscard]] const std::vector<ReferenceFloat>& referenceFloats();

} // namespace shardlens::test
