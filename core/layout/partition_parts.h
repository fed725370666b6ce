#pragma once

#include "core/layout/partition.h"

#include <cstdint>
#include <span>
#include <stop_token>
#include <vector>

namespace shardlens {

// Boundaries alone (formats/deepspeed.md §11.5): stages + 1 numbers from 0 to the number of layers. At least one layer and one stage.

[[nodiscard]] std::vector<std::uint32_t> uniformParts(std::uint32_t layers, std::uint32_t stages, const PartitionRules& rules);

// The weights' sum fits 63 bits. As uniform where there are no more layers than stages. LimitExceeded, with both numbers, where layers² · stages is more
// than 10¹⁰; for the rules before 0.12.5 where the sum is 2⁴³ or more: their bisection by thousandths does not end there. Cancelled when stopped.
[[nodiscard]] Result<std::vector<std::uint32_t>> balancedParts(std::span<const std::uint64_t> weights, std::uint32_t stages,
                                                               const PartitionRules& rules, std::stop_token stop);

} // namespace shardlens
