#pragma once

#include "core/encoding/safetensors.h"
#include "tests/support/zero_test_run.h"

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

namespace shardlens::benchmark {

// A decoder-like model whose fp32 weights take about `bytes`.
[[nodiscard]] test::ZeroTestRun modelOf(std::uint64_t bytes, std::uint32_t ranks);

// `parameters` small parameters: five tensors each (master, two moments, step, module copy), payload left as holes.
[[nodiscard]] test::ZeroTestRun manyTensors(std::size_t parameters, std::uint32_t ranks);

// A safetensors file of `tensors` tensors of 16 bytes.
void writeManySafetensors(const std::string& path, std::size_t tensors);

// A safetensors file of these tensors, their bytes filled with `pattern` over and over. False where it cannot be written.
[[nodiscard]] bool writeFilled(const std::string& path, std::vector<SafetensorsEntry> entries, std::span<const std::byte> pattern);

} // namespace shardlens::benchmark
