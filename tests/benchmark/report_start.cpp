#include "tests/benchmark/benchmark_options.h"
#include "tests/benchmark/measured_process.h"

#include <fmt/format.h>

#include <filesystem>

namespace shardlens::benchmark {
namespace {

constexpr int kStarts = 21;

double medianMilliseconds(const std::vector<std::string>& command, bool& worked)
{
    std::vector<double> times;
    for (int round = 0; round < kStarts; ++round) {
        const Measured one = measure(command);
        worked = worked && one.exitCode == 0;
        times.push_back(one.seconds * 1000);
    }
    return medianOf(times);
}

} // namespace

bool reportStart(const Options& options)
{
    bool worked = true;
    fmt::print("start to end, median of {}\n", kStarts);
    fmt::print("  {:<42}{:>8.1f} ms   goal 50 ms\n", "shardlens inspect SAMPLE",
               medianMilliseconds({options.program, "inspect", options.sample}, worked));
    fmt::print("  {:<42}{:>8.1f} ms\n", "shardlens --version", medianMilliseconds({options.program, "--version"}, worked));
    fmt::print("  {:<42}{:>8.1f} ms\n", "true", medianMilliseconds({"true"}, worked));
    if (bool python = true; medianMilliseconds({"python3", "-c", "pass"}, python) > 0 && python)
        fmt::print("  {:<42}{:>8.1f} ms\n", "python3 -c pass", medianMilliseconds({"python3", "-c", "pass"}, python));
    else
        fmt::print("  python3 -c pass: not measured, python3 is not here\n");
    return worked;
}

} // namespace shardlens::benchmark
