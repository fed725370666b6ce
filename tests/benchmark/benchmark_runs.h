#pragma once

#include "tests/support/zero_test_run.h"

#include <cstdint>
#include <string>

namespace shardlens::benchmark {

// A decoder-like model whose fp32 weights take about `bytes`.
[[nodiscard]] test::ZeroTestRun modelOf(std::uint64_t bytes, std::uint32_t ranks);

// `parameters` small parameters: five tensors each (master, two moments, step, module copy), payload left as holes.
[[nodiscard]] test::ZeroTestRun manyTensors(std::size_t parameters, std::uint32_t ranks);

// A safetensors file of `tensors` tensors of 16 bytes.
void writeManySafetensors(const std::string& path, std::size_t tensors);

} // namespace shardlens::benchmark
