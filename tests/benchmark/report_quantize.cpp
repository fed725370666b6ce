#include "tests/benchmark/benchmark_options.h"
#include "tests/benchmark/benchmark_runs.h"
#include "tests/benchmark/paired_conversion.h"

#include "core/encoding/safetensors.h"
#include "core/numeric/cast.h"
#include "core/numeric/quantizer.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <functional>
#include <random>
#include <vector>

namespace shardlens::benchmark {
namespace {

namespace fs = std::filesystem;
using Clock = std::chrono::steady_clock;

constexpr std::size_t kCastValues = 1u << 20; // as many as a block of a conversion has, about
constexpr std::uint64_t kColumns = 4096;
constexpr std::uint64_t kRows = 128;
constexpr int kRuns = 7;

std::vector<std::byte> weights(DType dtype, std::size_t count)
{
    std::mt19937 random(1);
    std::normal_distribution<float> normal(0, 0.02f);
    std::vector<float> values(count);
    std::generate(values.begin(), values.end(), [&] { return normal(random); });
    std::vector<std::byte> out(count * info(dtype).bytesPerBlock);
    castValues(DType::F32, reinterpret_cast<const std::byte*>(values.data()), dtype, out.data(), count);
    return out;
}

// Seconds of the fastest of some runs, each of at least 20 ms.
double fastest(const std::function<void()>& work)
{
    work();
    double best = 0;
    for (int run = 0; run < kRuns; ++run) {
        const auto start = Clock::now();
        std::size_t rounds = 0;
        double seconds = 0;
        for (; seconds < 0.02; ++rounds, seconds = std::chrono::duration<double>(Clock::now() - start).count())
            work();
        seconds /= static_cast<double>(rounds);
        best = best == 0 ? seconds : std::min(best, seconds);
    }
    return best;
}

// The bytes that a thread takes in, beside what memcpy takes in of the same buffer.
void reportCasts()
{
    std::vector<std::byte> out(kCastValues * sizeof(float));
    for (const auto& [from, to] : {std::pair{DType::F32, DType::BF16}, {DType::F32, DType::F16}, {DType::BF16, DType::F16}, {DType::F32, DType::F8E4M3}, {DType::BF16, DType::F32}}) {
        const std::vector<std::byte> in = weights(from, kCastValues);
        const double copy = fastest([&] { std::memcpy(out.data(), in.data(), in.size()); });
        const double cast = fastest([&] { castValues(from, in.data(), to, out.data(), kCastValues); });
        const bool hasGoal = from == DType::F32 && to != DType::F8E4M3;
        fmt::print("  {:<42}{:>8.2f}      {}({:.0f} Mvalues/s)\n", fmt::format("cast {} to {}, a thread, against memcpy", nameOf(from), nameOf(to)), copy / cast,
                   hasGoal ? "goal 0.70 " : "", static_cast<double>(kCastValues) / cast * 1e-6);
    }
}

bool reportScheme(const char* name, double goal)
{
    const QuantScheme* scheme = quantSchemeByName(name);
    if (scheme == nullptr)
        return false;
    QuantParameters parameters;
    parameters.pieces = 64;
    const auto layout = QuantLayout::make(*scheme, parameters, "layers.0.up.weight", DType::BF16, Shape{kRows, kColumns});
    if (!layout)
        return false;
    const std::vector<std::byte> values = weights(DType::BF16, layout->values());
    const Quantizer quantizer(*layout);
    std::vector<std::byte> codes(layout->parts().front().sizeBytes());
    ScaleRanges ranges;
    QuantScales scales;
    const double seconds = fastest([&] {
        ranges.reset(0, layout->scales());
        quantizer.measure(0, values, ranges);
        quantizer.makeScales(ranges, 1, scales);
        quantizer.writeCodes(0, values, scales, codes);
    });
    fmt::print("  {:<42}{:>8.0f} Mvalues/s  {}\n", fmt::format("{} from BF16, a thread", name), static_cast<double>(layout->values()) / seconds * 1e-6, goal == 0 ? std::string() : fmt::format("goal {:.0f}", goal));
    return true;
}

// The weights of a decoder in one file, BF16.
bool writeDecoder(const std::string& path, std::uint64_t bytes)
{
    const std::uint64_t hidden = bytes < 100'000'000 ? 256 : 2048;
    std::vector<SafetensorsEntry> entries;
    for (std::uint64_t layer = 0, written = 0; written < bytes; ++layer) {
        entries.push_back({fmt::format("layers.{}.up_proj.weight", layer), DType::BF16, {4 * hidden, hidden}, 0, 0});
        entries.push_back({fmt::format("layers.{}.down_proj.weight", layer), DType::BF16, {hidden, 4 * hidden}, 0, 0});
        written += 16 * hidden * hidden;
    }
    return writeFilled(path, std::move(entries), weights(DType::BF16, kCastValues));
}

bool reportConversion(const Options& options, const std::string& model, const std::vector<std::string>& choice, double goal)
{
    std::string words;
    for (const std::string& word : choice)
        words += " " + word;
    fmt::print("  convert --to safetensors{}\n", words);
    PairedConversion what{model, options.folder + "/written", model, {"--to", "safetensors"}, goal};
    what.options.insert(what.options.end(), choice.begin(), choice.end());
    return reportPairs(options, what);
}

} // namespace

bool reportQuantize(const Options& options)
{
    fmt::print("quantize and cast: kernels {}, of a thread\n", numericKernels().name);
    reportCasts();
    // int8 groups and FP8: 1,000 Mvalues/s; 4 bits: 400
    for (const auto& [name, goal] : {std::pair{"int8-g128", 1000.0}, {"int8-channel", 1000.0}, {"deepspeed-int8", 1000.0}, {"fp8-channel", 1000.0}, {"fp8-block128", 1000.0},
                                     {"int4-g128", 400.0}, {"nf4", 400.0}, {"mxfp4", 400.0}, {"nvfp4", 400.0}, {"llm-int8", 0.0}})
        if (!reportScheme(name, goal))
            return false;
    const std::string model = options.folder + "/decoder.safetensors";
    if (!writeDecoder(model, options.outputBytes))
        return false;
    fmt::print("  end to end: {:.2f} GB of BF16, against `cp X Y && sync -f Y` of the input\n", static_cast<double>(fs::file_size(model)) * 1e-9);
    const bool worked = reportConversion(options, model, {"--dtype", "F16"}, 1.3) && reportConversion(options, model, {"--quantize", "int8-channel"}, 1.3) &&
                        reportConversion(options, model, {"--quantize", "fp8-channel"}, 1.3) && reportConversion(options, model, {"--quantize", "int4-g128"}, 1.3);
    fs::remove(model);
    return worked;
}

} // namespace shardlens::benchmark
