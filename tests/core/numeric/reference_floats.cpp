#include "tests/core/numeric/reference_floats.h"

#include <algorithm>
#include <cmath>
#include <cstdio>

namespace shardlens::test {
namespace {

bool isFnuz(DType dtype)
{
    return dtype == DType::F8E4M3Fnuz || dtype == DType::F8E5M2Fnuz;
}

double power(int exponent) // of two
{
    double out = 1;
    for (; exponent > 0; --exponent)
        out *= 2;
    for (; exponent < 0; ++exponent)
        out /= 2;
    return out;
}

std::string hexadecimal(std::uint32_t code)
{
    char text[16];
    std::snprintf(text, sizeof text, "code 0x%02X", code);
    return text;
}

} // namespace

ReferenceFloat::ReferenceFloat(DType dtype, int exponentBits, int mantissaBits, int bias, std::uint32_t codesAtTop, Beyond beyond)
    : m_dtype(dtype), m_signBit(1u << (exponentBits + mantissaBits)), m_after(0), m_beyond(beyond)
{
    const std::uint32_t steps = 1u << mantissaBits;
    for (std::uint32_t code = 0; code <= m_signBit - codesAtTop; ++code) {
        const auto exponent = static_cast<int>(code / steps);
        const double step = power(std::max(exponent, 1) - bias - mantissaBits);
        m_values.push_back(step * (exponent == 0 ? code : steps + code % steps));
    }
    m_after = m_values.back(); // one value too many was made
    m_values.pop_back();
}

std::string ReferenceFloat::rounded(double value) const
{
    const double magnitude = std::fabs(value);
    const std::uint32_t sign = std::signbit(value) ? m_signBit : 0;
    const auto above = std::upper_bound(m_values.begin(), m_values.end(), magnitude);
    const auto below = static_cast<std::uint32_t>(above - m_values.begin()) - 1;
    const double next = above == m_values.end() ? m_after : *above;
    const double down = magnitude - m_values[below];
    const double up = next - magnitude;
    const bool goesUp = up < down || (up == down && below % 2 != 0);
    const std::uint32_t code = below + (goesUp ? 1 : 0);
    return words(isFnuz(m_dtype) && code == 0 ? 0 : sign | code); // FNUZ types have no −0
}

std::string ReferenceFloat::words(std::uint32_t code) const
{
    const std::uint32_t magnitude = code & (m_signBit - 1);
    if (isFnuz(m_dtype) && code == m_signBit) // the code of −0 is the one that is no number
        return "nan";
    if (magnitude < m_values.size())
        return hexadecimal(code);
    if (m_beyond == Beyond::Nan || magnitude > m_values.size())
        return "nan";
    return (code & m_signBit) != 0 ? "-inf" : "inf";
}

const std::vector<ReferenceFloat>& referenceFloats()
{
    using Beyond = ReferenceFloat::Beyond;
    static const std::vector<ReferenceFloat> all{{DType::F16, 5, 10, 15, 1u << 10, Beyond::Infinity},
                                                 {DType::BF16, 8, 7, 127, 1u << 7, Beyond::Infinity},
                                                 {DType::F8E5M2, 5, 2, 15, 1u << 2, Beyond::Infinity},
                                                 {DType::F8E4M3, 4, 3, 7, 1, Beyond::Nan},
                                                 {DType::F8E4M3Fnuz, 4, 3, 8, 0, Beyond::Nan},
                                                 {DType::F8E5M2Fnuz, 5, 2, 16, 0, Beyond::Nan}};
    return all;
}

} // namespace shardlens::test
