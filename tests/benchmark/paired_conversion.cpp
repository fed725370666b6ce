#include "tests/benchmark/paired_conversion.h"

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include <algorithm>
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

// What is dirty is written first: a run must not pay for the one before it. And as many pages are taken and given back as the run will write: on a virtual
// machine pages that were never used, or were handed back to the host, cost many times a copy, whoever takes them first.
void settle(const PairedConversion& what)
{
    (void)measure({"sh", "-c", "cp -r \"$0\" \"$1\"; rm -r \"$1\"; sync", what.reference, what.reference + ".warm"});
}

bool runPair(const Options& options, const PairedConversion& what, bool convertFirst, Pair& pair)
{
    const std::string copy = what.reference + ".copy";
    const auto runConvert = [&] {
        settle(what);
        pair.convert = convertOnce(options, what, what.target);
        pair.peakMiB = peakMiBOf(pair.convert);
        fs::remove_all(what.target);
    };
    const auto runCopy = [&] {
        settle(what);
        pair.copy = measure({"sh", "-c", "cp -r \"$0\" \"$1\" && sync -f \"$1\"", what.reference, copy});
        fs::remove_all(copy);
    };
    if (convertFirst)
        runConvert();
    runCopy();
    if (!convertFirst)
        runConvert();
    return pair.convert.exitCode == 0 && pair.copy.exitCode == 0;
}

void printPairs(const std::vector<Pair>& pairs, double goal)
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
    fmt::print("  {:<42}{:>8.2f}      goal {} (user+sys: {:.2f})\n", fmt::format("median ratio of {} pairs", ratios.size()), medianOf(ratios), goal,
               medianOf(cpuRatios));
    fmt::print("  {:<42}{:>8.1f} MiB  goal 256 MiB\n", "peak resident size", peak);
}

} // namespace

Measured convertOnce(const Options& options, const PairedConversion& what, const std::string& target)
{
    std::vector<std::string> command{options.program, "convert", what.source, target};
    command.insert(command.end(), what.options.begin(), what.options.end());
    command.insert(command.end(), {"--progress", "none", "--json"});
    return measure(command, true);
}

double peakMiBOf(const Measured& run)
{
    const auto answer = nlohmann::json::parse(run.output, nullptr, false);
    return answer.is_object() ? answer.value("peak_resident_bytes", 0.0) / kMiB : 0;
}

bool reportPairs(const Options& options, const PairedConversion& what)
{
    const bool isSource = what.reference == what.source;
    if (isSource) { // warm all the same
        const bool works = convertOnce(options, what, what.target).exitCode == 0;
        fs::remove_all(what.target);
        if (!works)
            return false;
    } else if (convertOnce(options, what, what.reference).exitCode != 0) {
        return false;
    }
    std::vector<Pair> pairs(options.pairs);
    for (std::size_t i = 0; i < pairs.size(); ++i)
        if (!runPair(options, what, i % 2 == 0, pairs[i]))
            return false;
    printPairs(pairs, what.goal);
    if (!isSource)
        fs::remove_all(what.reference);
    return true;
}

} // namespace shardlens::benchmark
