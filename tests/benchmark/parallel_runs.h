#pragma once

#include <cstdint>
#include <string>

namespace shardlens::benchmark {

// A decoder of about `bytes` in BF16 as `ranks` tensor-parallel files of MegatronSDLoader with their list, which is folder/list.json.
void writeRankList(const std::string& folder, std::uint64_t bytes, std::uint32_t ranks);

// A run of the pipeline engine, ZeRO-1 on 2 stages x 2 data-parallel x 2 tensor-parallel ranks, whose fp32 masters take about `bytes`: folder/latest and
// folder/step1 with layer files, model files and optimizer files.
void writePipelineRun(const std::string& folder, std::uint64_t bytes);

} // namespace shardlens::benchmark
