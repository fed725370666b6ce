#include "tests/benchmark/benchmark_options.h"
#include "tests/benchmark/paired_conversion.h"
#include "tests/benchmark/parallel_runs.h"

#include <fmt/format.h>

#include <filesystem>

namespace shardlens::benchmark {
namespace {

bool reportDegrees(const Options& options, std::uint32_t from, std::uint32_t to)
{
    const std::uint64_t bytes = options.outputBytes * 2;
    fmt::print("tensor parallel: {} files become {}, {:.2f} GB of BF16, against `cp -r X Y && sync -f Y`\n", from, to, static_cast<double>(bytes) * 1e-9);
    const std::string source = options.folder + "/ranks";
    writeRankList(source, bytes, from);
    const bool done = reportPairs(options, {source + "/list.json", options.folder + "/cut", options.folder + "/reference", {"--to", "sdloader", "--tp", std::to_string(to)}});
    std::filesystem::remove_all(source);
    return done;
}

} // namespace

bool reportTensorParallel(const Options& options)
{
    return reportDegrees(options, 4, 2) && reportDegrees(options, 2, 4);
}

bool reportPipeline(const Options& options)
{
    fmt::print("consolidation: ZeRO-1 on pipeline 2 x data 2 x tensor 2, {:.2f} GB of fp32 output, against `cp X Y && sync -f Y`\n", static_cast<double>(options.outputBytes) * 1e-9);
    const std::string source = options.folder + "/pipeline";
    writePipelineRun(source, options.outputBytes);
    const bool done = reportPairs(options, {source, options.folder + "/out.safetensors", options.folder + "/reference.safetensors", {"--to", "safetensors"}});
    std::filesystem::remove_all(source);
    return done;
}

} // namespace shardlens::benchmark
