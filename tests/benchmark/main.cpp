#include "tests/benchmark/benchmark_options.h"

#include <CLI/CLI.hpp>
#include <fmt/format.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <sys/utsname.h>
#include <thread>
#include <unistd.h>

namespace {

using namespace shardlens::benchmark;

struct Part {
    const char* name;
    bool (*report)(const Options&);
};

constexpr Part kParts[] = {
    {"start", reportStart}, {"opening", reportOpening}, {"growth", reportGrowth}, {"consolidation", reportConsolidation}, {"resharding", reportResharding},
    {"tensor-parallel", reportTensorParallel}, {"pipeline", reportPipeline}, {"mindspore", reportMindSpore}, {"dcp", reportDcp}, {"quantize", reportQuantize}};

// Sizes with which the whole report takes seconds: to see that it still works, not how fast.
void makeQuick(Options& options)
{
    options.outputBytes = 8'000'000;
    options.pairs = 2;
    options.tensors = 2000;
    options.pieces = 16'000;
}

int runParts(Options options)
{
    options.folder += "/shardlens-benchmark-" + std::to_string(::getpid());
    std::filesystem::create_directories(options.folder);
    utsname system{};
    ::uname(&system);
    fmt::print("{} {}, {} processors; goals are of a quiet machine, nothing here is asserted\n\n", system.sysname, system.machine,
               std::thread::hardware_concurrency());
    bool worked = true;
    for (const Part& part : kParts) {
        if (!options.only.empty() && std::find(options.only.begin(), options.only.end(), part.name) == options.only.end())
            continue;
        if (!part.report(options)) {
            fmt::print("  {}: did not work\n", part.name);
            worked = false;
        }
        fmt::print("\n");
        std::fflush(stdout);
    }
    std::filesystem::remove_all(options.folder);
    return worked ? EXIT_SUCCESS : EXIT_FAILURE;
}

} // namespace

int main(int argc, char** argv)
{
    Options options;
    options.program = SHARDLENS_CLI;
    options.sample = SHARDLENS_SAMPLE;
    options.folder = std::filesystem::current_path().string();
    bool quick = false;
    CLI::App app{"What Shardlens must reach, measured: ratios in one run, absolute times as goals."};
    app.add_option("--program", options.program, "The shardlens to be measured");
    app.add_option("--folder", options.folder, "Where to write the big checkpoints (default: here); about eleven times the output is needed");
    app.add_option("--output-bytes", options.outputBytes, "Bytes of the consolidated model");
    app.add_option("--ranks", options.ranks, "Ranks of the runs")->check(CLI::Range(1u, 1024u));
    app.add_option("--pairs", options.pairs, "Interleaved pairs of convert and cp")->check(CLI::Range(1u, 1000u));
    app.add_option("--tensors", options.tensors, "Tensors to open and list");
    app.add_option("--pieces", options.pieces, "Pieces to open");
    app.add_option("--sparse-factor", options.sparseFactor, "Also convert a sparse source this many times as large (10: writes 10 GB)");
    app.add_option("--only", options.only, "start, opening, growth, consolidation, resharding, tensor-parallel, pipeline, mindspore, dcp, quantize");
    app.add_flag("--quick", quick, "Small sizes: does the benchmark work?");
    CLI11_PARSE(app, argc, argv);
    if (quick)
        makeQuick(options);
    try {
        return runParts(options);
    } catch (const std::exception& problem) { // the writers of test checkpoints throw
        fmt::print(stderr, "error: {}\n", problem.what());
        return EXIT_FAILURE;
    }
}
