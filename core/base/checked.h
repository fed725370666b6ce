#pragma once

#include <cstdint>
#include <optional>
#include <span>

namespace shardlens {

// Arithmetic on numbers that a file claims: nullopt where the result does not fit.
[[nodiscard]] constexpr std::optional<std::uint64_t> checkedAdd(std::uint64_t a, std::uint64_t b)
{
    std::uint64_t out = 0;
    if (__builtin_add_overflow(a, b, &out))
        return std::nullopt;
    return out;
}

[[nodiscard]] constexpr std::optional<std::uint64_t> checkedMul(std::uint64_t a, std::uint64_t b)
{
    std::uint64_t out = 0;
    if (__builtin_mul_overflow(a, b, &out))
        return std::nullopt;
    return out;
}

// Product, multiplied left to right: [0, 2⁶⁴−1, 2⁶⁴−1] is 0, [2⁶⁴−1, 2⁶⁴−1, 0] overflows, as safetensors' reference has it.
[[nodiscard]] constexpr std::optional<std::uint64_t> checkedProduct(std::span<const std::uint64_t> factors)
{
    std::uint64_t out = 1;
    for (const std::uint64_t factor : factors)
        if (__builtin_mul_overflow(out, factor, &out))
            return std::nullopt;
    return out;
}

[[nodiscard]] constexpr std::uint64_t ceilDiv(std::uint64_t a, std::uint64_t b)
{
    return a / b + (a % b != 0 ? 1 : 0);
}

} // namespace shardlens
