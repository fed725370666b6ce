#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

namespace shardlens::benchmark {

struct Options {
    std::string program;                       // the shardlens to be measured
    std::string sample;                        // the bundled checkpoint
    std::string folder;                        // where the big checkpoints are written; removed at the end
    std::uint64_t outputBytes = 1'070'000'000; // fp32, of the consolidation
    std::uint32_t ranks = 4;
    std::uint32_t pairs = 7;
    std::uint64_t sparseFactor = 0; // 0: leave the large sparse source out
    std::size_t tensors = 100'000;
    std::size_t pieces = 1'000'000;
    std::vector<std::string> only; // parts; empty: all
};

// Each prints its part of the report to standard output. False where something that was to be measured did not work.
[[nodiscard]] bool reportStart(const Options& options);         // "start"
[[nodiscard]] bool reportOpening(const Options& options);       // "opening"
[[nodiscard]] bool reportGrowth(const Options& options);        // "growth"
[[nodiscard]] bool reportConsolidation(const Options& options); // "consolidation"
[[nodiscard]] bool reportResharding(const Options& options);    // "resharding"
[[nodiscard]] bool reportTensorParallel(const Options& options); // "tensor-parallel"
[[nodiscard]] bool reportPipeline(const Options& options);      // "pipeline"
[[nodiscard]] bool reportMindSpore(const Options& options);     // "mindspore"
[[nodiscard]] bool reportDcp(const Options& options);           // "dcp"
[[nodiscard]] bool reportQuantize(const Options& options);      // "quantize"

} // namespace shardlens::benchmark
