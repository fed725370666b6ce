#include "tests/benchmark/benchmark_options.h"
#include "tests/benchmark/benchmark_runs.h"
#include "tests/benchmark/paired_conversion.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <cstring>
#include <filesystem>

namespace shardlens::benchmark {
namespace {

namespace fs = std::filesystem;

void printMemcpy()
{
    constexpr std::size_t kBytes = 64u << 20;
    const std::vector<char> from(kBytes, 1);
    std::vector<char> to(kBytes, 2);
    double best = 1e9;
    for (int round = 0; round < 5; ++round) {
        const auto start = std::chrono::steady_clock::now();
        std::memcpy(to.data(), from.data(), kBytes);
        best = std::min(best, std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count());
    }
    fmt::print("  {:<42}{:>8.1f} GB/s{}\n", "memcpy on this machine", static_cast<double>(kBytes) / best * 1e-9,
               to[kBytes / 2] == 1 ? "" : " (not copied)");
}

// The same peak for a source many times as large: the payload is holes, so that it fits any disk, and only the peak is of interest.
bool reportSparse(const Options& options)
{
    const std::string source = options.folder + "/sparse";
    test::ZeroTestRun run = modelOf(options.outputBytes * options.sparseFactor, options.ranks);
    run.sparse = true;
    run.write(source, "step1");
    const Measured done = convertOnce(options, {source, {}, {}, {"--to", "safetensors"}}, options.folder + "/sparse.safetensors");
    fs::remove(options.folder + "/sparse.safetensors");
    fs::remove_all(source);
    fmt::print("  {:<42}{:>8.1f} MiB  goal 256 MiB ({:.1f} s)\n",
               fmt::format("peak for a sparse source {} times as large", options.sparseFactor), peakMiBOf(done), done.seconds);
    return done.exitCode == 0;
}

} // namespace

bool reportConsolidation(const Options& options)
{
    fmt::print("consolidation: ZeRO-2, {} ranks, {:.2f} GB of fp32 output, against `cp X Y && sync -f Y`\n", options.ranks,
               static_cast<double>(options.outputBytes) * 1e-9);
    const std::string source = options.folder + "/zero2";
    modelOf(options.outputBytes, options.ranks).write(source, "step1");
    const std::string reference = options.folder + "/reference.safetensors";
    if (!reportPairs(options, {source, options.folder + "/out.safetensors", reference, {"--to", "safetensors"}}))
        return false;
    printMemcpy();
    fs::remove_all(source);
    if (options.sparseFactor == 0) {
        fmt::print("  peak for a much larger sparse source: not measured (--sparse-factor 10)\n");
        return true;
    }
    return reportSparse(options);
}

bool reportResharding(const Options& options)
{
    const std::uint32_t wanted = options.ranks + options.ranks / 2;
    fmt::print("resharding: ZeRO-2 with its optimizer, {} to {} ranks, {:.2f} GB of output, against `cp -r X Y && sync -f Y`\n", options.ranks, wanted,
               static_cast<double>(options.outputBytes) * 3.5e-9); // fp32 master and two moments, a bf16 copy
    const std::string source = options.folder + "/zero2";
    modelOf(options.outputBytes, options.ranks).write(source, "step1");
    const bool done = reportPairs(options, {source, options.folder + "/resharded", options.folder + "/reference", {"--to", "deepspeed", "--dp", std::to_string(wanted)}});
    fs::remove_all(source);
    return done;
}

} // namespace shardlens::benchmark
