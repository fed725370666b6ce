#include "tests/benchmark/benchmark_options.h"
#include "tests/benchmark/benchmark_runs.h"
#include "tests/benchmark/measured_process.h"

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include <algorithm>
#include <chrono>
#include <cstring>
#include <filesystem>

namespace shardlens::benchmark {
namespace {

namespace fs = std::filesystem;

constexpr double kMiB = 1024.0 * 1024.0;

struct Pair {
    Measured convert;
    Measured copy;
    double peakMiB = 0;

    [[nodiscard]] double ratio() const { return convert.seconds / copy.seconds; }
};

Measured convert(const Options& options, const std::string& source, const std::string& target)
{
    return measure({options.program, "convert", source, target, "--to", "safetensors", "--progress", "none", "--json"}, true);
}

double peakMiBOf(const Measured& run)
{
    const auto answer = nlohmann::json::parse(run.output, nullptr, false);
    return answer.is_object() ? answer.value("peak_resident_bytes", 0.0) / kMiB : 0;
}

// What is dirty is written first: a run must not pay for the one before it.
void settle()
{
    (void)measure({"sync"});
}

bool runPair(const Options& options, const std::string& source, const std::string& reference, bool convertFirst, Pair& pair)
{
    const std::string target = options.folder + "/out.safetensors";
    const std::string copy = options.folder + "/copy.bin";
    const auto runConvert = [&] {
        settle();
        pair.convert = convert(options, source, target);
        pair.peakMiB = peakMiBOf(pair.convert);
        fs::remove(target);
    };
    const auto runCopy = [&] {
        settle();
        pair.copy = measure({"sh", "-c", "cp \"$0\" \"$1\" && sync -f \"$1\"", reference, copy});
        fs::remove(copy);
    };
    if (convertFirst)
        runConvert();
    runCopy();
    if (!convertFirst)
        runConvert();
    return pair.convert.exitCode == 0 && pair.copy.exitCode == 0;
}

void printPairs(const std::vector<Pair>& pairs)
{
    double fastestCopy = pairs.front().copy.seconds;
    for (const Pair& pair : pairs)
        fastestCopy = std::min(fastestCopy, pair.copy.seconds);
    std::vector<double> ratios;
    std::vector<double> cpuRatios;
    double peak = 0;
    fmt::print("  {:>4}{:>12}{:>12}{:>9}{:>9}{:>9}{:>8}{:>11}\n", "pair", "convert s", "user+sys", "cp s", "user+sys", "ratio", "",
               "peak MiB");
    for (std::size_t i = 0; i < pairs.size(); ++i) {
        const Pair& pair = pairs[i];
        const bool counts = pair.copy.seconds <= 2 * fastestCopy;
        fmt::print("  {:>4}{:>12.2f}{:>12.2f}{:>9.2f}{:>9.2f}{:>9.2f}{:>8}{:>11.1f}\n", i + 1, pair.convert.seconds,
                   pair.convert.cpuSeconds, pair.copy.seconds, pair.copy.cpuSeconds, pair.ratio(), counts ? "" : "left out", pair.peakMiB);
        peak = std::max(peak, pair.peakMiB);
        if (counts) {
            ratios.push_back(pair.ratio());
            cpuRatios.push_back(pair.convert.cpuSeconds / std::max(pair.copy.cpuSeconds, 1e-9));
        }
    }
    fmt::print("  {:<42}{:>8.2f}      goal 1.3 (user+sys: {:.2f})\n", fmt::format("median ratio of {} pairs", ratios.size()),
               medianOf(ratios), medianOf(cpuRatios));
    fmt::print("  {:<42}{:>8.1f} MiB  goal 256 MiB\n", "peak resident size", peak);
}

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
    const Measured done = convert(options, source, options.folder + "/sparse.safetensors");
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
    const std::string reference = options.folder + "/reference.safetensors";
    modelOf(options.outputBytes, options.ranks).write(source, "step1");
    if (convert(options, source, reference).exitCode != 0) // also warms the source
        return false;
    std::vector<Pair> pairs(options.pairs);
    for (std::size_t i = 0; i < pairs.size(); ++i)
        if (!runPair(options, source, reference, i % 2 == 0, pairs[i]))
            return false;
    printPairs(pairs);
    printMemcpy();
    fs::remove(reference);
    fs::remove_all(source);
    if (options.sparseFactor == 0) {
        fmt::print("  peak for a much larger sparse source: not measured (--sparse-factor 10)\n");
        return true;
    }
    return reportSparse(options);
}

} // namespace shardlens::benchmark
