#include "tests/benchmark/benchmark_options.h"
#include "tests/benchmark/benchmark_runs.h"
#include "tests/benchmark/measured_process.h"

#include "core/convert/plan.h"
#include "core/format/format.h"

#include <fmt/format.h>

#include <chrono>
#include <filesystem>

namespace shardlens::benchmark {
namespace {

namespace fs = std::filesystem;
using Clock = std::chrono::steady_clock;

constexpr std::size_t kTensorsPerParameter = 5; // master, two moments, step, module copy
constexpr int kRounds = 3;

double secondsSince(Clock::time_point start)
{
    return std::chrono::duration<double>(Clock::now() - start).count();
}

struct Opened {
    CheckpointPtr checkpoint;
    double seconds = 0;
};

// The fastest of a few rounds: what the work takes when nothing disturbs it.
Opened openBest(const std::string& path)
{
    Opened best;
    for (int round = 0; round < kRounds; ++round) {
        JobContext job;
        const auto start = Clock::now();
        auto opened = openCheckpoint(path, {}, job);
        const double seconds = secondsSince(start);
        if (!opened) {
            fmt::print("  {}\n", opened.error().sentence());
            return {};
        }
        if (best.checkpoint == nullptr || seconds < best.seconds)
            best = {opened.take(), seconds};
    }
    return best;
}

bool reportListing(const Options& options, const char* what, const std::string& path)
{
    std::vector<double> times;
    for (int round = 0; round < kRounds; ++round) {
        const Measured one = measure({options.program, "list", path, "--csv"});
        if (one.exitCode != 0)
            return false;
        times.push_back(one.seconds);
    }
    fmt::print("  {:<42}{:>8.2f} s    goal 1 s\n", fmt::format("open and list, {}", what), medianOf(times));
    return true;
}

} // namespace

bool reportOpening(const Options& options)
{
    fmt::print("opening {} tensors, {} pieces\n", options.tensors, options.pieces);
    const std::string file = options.folder + "/many.safetensors";
    writeManySafetensors(file, options.tensors);
    bool worked = reportListing(options, "safetensors", file);
    fs::remove(file);

    const std::string run = options.folder + "/many";
    manyTensors(options.tensors / kTensorsPerParameter, options.ranks).write(run, "step1");
    worked = reportListing(options, "ZeRO-2", run) && worked;
    fs::remove_all(run);

    manyTensors(options.pieces / kTensorsPerParameter, options.ranks).write(run, "step1");
    const Opened many = openBest(run);
    fs::remove_all(run);
    if (many.checkpoint == nullptr)
        return false;
    const PieceStore& pieces = many.checkpoint->pieces();
    fmt::print("  {:<42}{:>8.2f} s    goal 3 s\n", fmt::format("open {} pieces", pieces.size()), many.seconds);
    fmt::print("  {:<42}{:>8.1f} B    goal 96 B\n", "a piece in memory",
               static_cast<double>(pieces.bytesUsed()) / static_cast<double>(pieces.size()));
    return worked;
}

bool reportGrowth(const Options& options)
{
    fmt::print("growth: reader and plan (O(n log n): four times the pieces, a little more than four times the time)\n");
    fmt::print("  {:>10}{:>12}{:>8}{:>12}{:>8}\n", "pieces", "open ms", "ratio", "plan ms", "ratio");
    double lastOpen = 0;
    double lastPlan = 0;
    for (const std::size_t divisor : {16, 4, 1}) {
        const std::string run = options.folder + "/growth";
        manyTensors(options.pieces / kTensorsPerParameter / divisor, options.ranks).write(run, "step1");
        const Opened opened = openBest(run);
        if (opened.checkpoint == nullptr)
            return false;
        ConvertRequest request;
        request.source = run;
        request.target = options.folder + "/growth-out";
        request.to = "safetensors";
        JobContext job;
        const auto start = Clock::now();
        request.memoryLimit = 8ull << 30; // what describes a million pieces is not what is measured here
        const auto plan = planConversion(opened.checkpoint, request, job);
        const double planSeconds = secondsSince(start);
        fs::remove_all(run);
        if (!plan) {
            fmt::print("  {}\n", plan.error().sentence());
            return false;
        }
        const auto ratio = [](double now, double last) { return last > 0 ? fmt::format("{:.1f}", now / last) : std::string("-"); };
        fmt::print("  {:>10}{:>12.1f}{:>8}{:>12.1f}{:>8}\n", opened.checkpoint->pieces().size(), opened.seconds * 1000,
                   ratio(opened.seconds, lastOpen), planSeconds * 1000, ratio(planSeconds, lastPlan));
        lastOpen = opened.seconds;
        lastPlan = planSeconds;
    }
    return true;
}

} // namespace shardlens::benchmark
