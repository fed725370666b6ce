#include "tests/benchmark/benchmark_options.h"
#include "tests/benchmark/paired_conversion.h"
#include "tests/support/mindspore_test_run.h"

#include <fmt/format.h>

#include <algorithm>
#include <filesystem>

namespace shardlens::benchmark {
namespace {

namespace fs = std::filesystem;
using test::MindSporeLayout;
using test::MindSporeTestRun;

constexpr std::uint64_t kCell = 4; // float32
constexpr std::uint32_t kOpenedRanks = 64;
constexpr int kOpenings = 3;

// The layers of a decoder on `devices` ranks as data parallel 2, the rest tensor parallel, with the optimizer's shards over data-parallel ranks.
MindSporeTestRun decoder(std::uint64_t bytes, std::uint64_t devices)
{
    const std::uint64_t hidden = bytes < 100'000'000 ? 128 : 1024;
    const std::uint64_t layers = std::max<std::uint64_t>(bytes / (8 * hidden * hidden * kCell), 2);
    MindSporeTestRun out;
    out.devices = devices;
    const std::vector<std::uint64_t> matrix{2, devices / 2};
    for (std::uint64_t layer = 0; layer < layers; ++layer) {
        const std::string prefix = fmt::format("layers.{}.", layer);
        out.tensors.push_back({prefix + "up", "Float32", kCell, {4 * hidden, hidden}, {{0, MindSporeLayout{matrix, {{0}, {}}, -1}}}});
        out.tensors.push_back({prefix + "down", "Float32", kCell, {hidden, 4 * hidden}, {{0, MindSporeLayout{matrix, {{}, {0}}, -1}}}});
        out.tensors.push_back({prefix + "norm", "Float32", kCell, {hidden}, {{0, MindSporeLayout{matrix, {{}}, 0}}}});
    }
    return out;
}

// Files of the right sizes, with numbers that nothing compresses away; which slice holds which is all the same to the time.
void writeRanks(const MindSporeTestRun& run, const std::string& folder)
{
    for (std::uint64_t rank = 0; rank < run.devices; ++rank) {
        std::string file;
        for (const test::MindSporeTensor& tensor : run.tensors) {
            const auto shape = MindSporeTestRun::sliceShape(tensor.layouts.at(0), tensor.shape);
            std::uint64_t count = kCell;
            for (const std::uint64_t extent : shape)
                count *= extent;
            std::string values(count, '\0');
            for (std::size_t i = 0; i < values.size(); ++i)
                values[i] = static_cast<char>((i * 37 + (i >> 9) * 11 + file.size()) % 251 & 0x3F);
            file += test::ckptRecord(tensor.name, tensor.type, shape, values);
        }
        test::writeBytes(fmt::format("{}/rank_{}/net_rank_{}.ckpt", folder, rank, rank), file);
    }
}

bool reportRanks(const Options& options, std::uint64_t from, std::uint64_t to)
{
    fmt::print("MindSpore: {} ranks become {}, {:.2f} GB of F32 with optimizer shards, against `cp -r X Y && sync -f Y`\n", from, to, static_cast<double>(options.outputBytes) * 1e-9);
    const std::string source = options.folder + "/mindspore";
    const MindSporeTestRun run = decoder(options.outputBytes, from);
    writeRanks(run, source);
    run.writeStrategy(options.folder + "/from.ckpt");
    decoder(options.outputBytes, to).writeStrategy(options.folder + "/to.ckpt");
    const bool done = reportPairs(options, {source, options.folder + "/cut", options.folder + "/reference",
                                            {"--to", "mindspore", "--source-strategy", options.folder + "/from.ckpt", "--strategy", options.folder + "/to.ckpt"}, 1.5});
    fs::remove_all(source);
    return done;
}

bool reportManyRanks(const Options& options)
{
    const std::size_t parameters = options.tensors / 10;
    const std::string source = options.folder + "/ranks64";
    MindSporeTestRun run;
    run.devices = kOpenedRanks;
    for (std::size_t i = 0; i < parameters; ++i)
        run.tensors.push_back({fmt::format("model.layers.{}.block{}.weight", i / 10, i % 10), "Float32", kCell, {16, 32}, {{0, MindSporeLayout{{8, 8}, {{i % 2 == 0 ? 0u : 1u}, {}}, 0}}}});
    writeRanks(run, source);
    run.writeStrategy(options.folder + "/ranks64.ckpt");
    double best = 0;
    for (int round = 0; round < kOpenings; ++round) {
        const Measured one = measure({options.program, "inspect", source, "--source-strategy", options.folder + "/ranks64.ckpt", "--json"});
        if (one.exitCode != 0)
            return false;
        best = best == 0 ? one.seconds : std::min(best, one.seconds);
    }
    fs::remove_all(source);
    fmt::print("  {:<42}{:>8.2f} s    goal 2 s\n", fmt::format("open {} ranks x {} parameters", kOpenedRanks, parameters), best);
    return true;
}

} // namespace

bool reportMindSpore(const Options& options)
{
    return reportRanks(options, 8, 4) && reportRanks(options, 4, 8) && reportManyRanks(options);
}

} // namespace shardlens::benchmark
