#include "tests/benchmark/benchmark_options.h"
#include "tests/benchmark/benchmark_runs.h"
#include "tests/benchmark/paired_conversion.h"

#include "core/convert/plan.h"
#include "core/encoding/dcp_writer.h"
#include "core/encoding/safetensors.h"
#include "core/encoding/torch_zip_layout.h"
#include "core/encoding/torch_writer.h"
#include "core/format/format.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <filesystem>
#include <fstream>

namespace shardlens::benchmark {
namespace {

namespace fs = std::filesystem;
using Clock = std::chrono::steady_clock;

constexpr int kDcpRounds = 3;
constexpr std::uint64_t kModelPatternBytes = 1u << 20;
constexpr std::size_t kChunksOfTensor = 1000;
constexpr std::uint32_t kDataFiles = 8;
constexpr std::uint64_t kGrid = 128; // chunks a side: 16,384
constexpr std::uint64_t kChunkSide = 64;

std::string modelPattern()
{
    std::string out(kModelPatternBytes, '\0');
    for (std::size_t i = 0; i < out.size(); ++i)
        out[i] = static_cast<char>((i * 37 + (i >> 9) * 11) % 251 & 0x3F);
    return out;
}

// The weights of a decoder in one file.
bool writeModel(const std::string& path, std::uint64_t bytes)
{
    const std::uint64_t hidden = bytes < 100'000'000 ? 128 : 1024;
    std::vector<SafetensorsEntry> entries;
    for (std::uint64_t layer = 0, written = 0; written < bytes; ++layer) {
        entries.push_back({fmt::format("layers.{}.up.weight", layer), DType::F32, {4 * hidden, hidden}, 0, 0});
        entries.push_back({fmt::format("layers.{}.down.weight", layer), DType::F32, {hidden, 4 * hidden}, 0, 0});
        entries.push_back({fmt::format("layers.{}.norm.weight", layer), DType::F32, {hidden}, 0, 0});
        written += (8 * hidden + 1) * hidden * 4;
    }
    const std::string pattern = modelPattern();
    return writeFilled(path, std::move(entries), std::as_bytes(std::span(pattern)));
}

// A tensor item as torch writes it, its values zero.
std::string itemOf(const Shape& shape)
{
    const auto pickle = tensorPickle(DType::F32, shape);
    const std::vector<std::uint64_t> storages{elementCount(shape).value_or(0) * 4};
    const auto layout = pickle ? TorchZipLayout::layOut(std::string(kDcpItemRoot), torchSaveRecords(pickle->size(), storages)) : Result<TorchZipLayout>(pickle.error());
    if (!layout)
        return {};
    std::string out(layout->fileBytes(), '\0');
    const auto put = [&](std::uint64_t at, std::span<const std::byte> bytes) { std::copy(bytes.begin(), bytes.end(), reinterpret_cast<std::byte*>(out.data()) + at); };
    for (const BytesAt& one : layout->headers())
        put(one.offset, one.bytes);
    for (const BytesAt& one : layout->closing(std::vector<std::uint32_t>(layout->records().size(), 0)))
        put(one.offset, one.bytes);
    put(layout->records().front().dataOffset, *pickle);
    return out;
}

// A directory whose chunks lie in turn in as many files.
struct ChunkedFolder {
    std::string path;
    std::string item;
    std::vector<std::uint64_t> ends = std::vector<std::uint64_t>(kDataFiles, 0);
    DcpMetadataWriter metadata;
    std::size_t chunks = 0;

    explicit ChunkedFolder(std::string folder, const Shape& chunk) : path(std::move(folder)), item(itemOf(chunk)), metadata(names()) { fs::create_directories(path); }

    static std::vector<std::string> names()
    {
        std::vector<std::string> out;
        for (std::uint32_t i = 0; i < kDataFiles; ++i)
            out.push_back(fmt::format("__{}_0.distcp", i));
        return out;
    }
    void add(ShapeView offset, ShapeView extent)
    {
        const auto file = static_cast<std::uint32_t>(chunks++ % kDataFiles);
        metadata.addChunk(offset, extent, {file, 0, ends[file], item.size()});
        ends[file] += item.size();
    }
    bool write()
    {
        const auto bytes = std::move(metadata).finish();
        if (!bytes)
            return false;
        std::ofstream(path + "/.metadata", std::ios::binary).write(reinterpret_cast<const char*>(bytes->data()), static_cast<std::streamsize>(bytes->size()));
        for (std::uint32_t i = 0; i < kDataFiles; ++i) {
            std::ofstream file(path + "/" + names()[i], std::ios::binary);
            for (std::uint64_t at = 0; at < ends[i]; at += item.size())
                file.write(item.data(), static_cast<std::streamsize>(item.size()));
        }
        return true;
    }
};

bool reportManyChunks(const Options& options)
{
    const std::string folder = options.folder + "/chunks";
    {
        ChunkedFolder many(folder, {2, 8});
        for (std::size_t tensor = 0; tensor * kChunksOfTensor < options.pieces; ++tensor) {
            many.metadata.addTensor({{fmt::format("model.layers.{}.self_attn.q_proj.weight", tensor), {}}}, DType::F32, {2 * kChunksOfTensor, 8});
            for (std::uint64_t chunk = 0; chunk < kChunksOfTensor; ++chunk)
                many.add(Shape{2 * chunk, 0}, Shape{2, 8});
        }
        if (!many.write())
            return false;
    }
    double best = 0;
    double peakMiB = 0;
    for (int round = 0; round < kDcpRounds; ++round) {
        const Measured one = measure({options.program, "inspect", folder, "--json"});
        if (one.exitCode != 0)
            return false;
        best = best == 0 ? one.seconds : std::min(best, one.seconds);
        peakMiB = std::max(peakMiB, one.peakMiB);
    }
    fs::remove_all(folder);
    fmt::print("  {:<42}{:>8.2f} s    goal 5 s, of a million\n  {:<42}{:>8.0f} MiB  goal 1,536 MiB\n", fmt::format("open {} chunks", options.pieces), best, "peak", peakMiB);
    return true;
}

bool reportGridPlan(const Options& options)
{
    const std::string folder = options.folder + "/grid";
    {
        ChunkedFolder grid(folder, {kChunkSide, kChunkSide});
        grid.metadata.addTensor({{"w", {}}}, DType::F32, {kGrid * kChunkSide, kGrid * kChunkSide});
        for (std::uint64_t row = 0; row < kGrid; ++row)
            for (std::uint64_t column = 0; column < kGrid; ++column)
                grid.add(Shape{row * kChunkSide, column * kChunkSide}, Shape{kChunkSide, kChunkSide});
        if (!grid.write())
            return false;
    }
    JobContext job;
    const auto opened = openCheckpoint(folder, {}, job);
    if (!opened)
        return false;
    ConvertRequest request;
    request.source = folder;
    request.target = options.folder + "/grid-out";
    request.to = "safetensors";
    double best = 0;
    for (int round = 0; round < kDcpRounds; ++round) {
        const auto start = Clock::now();
        const auto plan = planConversion(*opened, request, job);
        const double seconds = std::chrono::duration<double>(Clock::now() - start).count();
        if (!plan)
            return false;
        best = best == 0 ? seconds : std::min(best, seconds);
    }
    fs::remove_all(folder);
    fmt::print("  {:<42}{:>8.1f} ms   goal 30 ms\n", fmt::format("plan {} chunks of one tensor", kGrid * kGrid), best * 1000);
    return true;
}

} // namespace

bool reportDcp(const Options& options)
{
    const std::string model = options.folder + "/model.safetensors";
    const std::string saved = options.folder + "/saved";
    if (!writeModel(model, options.outputBytes))
        return false;
    fmt::print("PyTorch DCP: {:.2f} GB of F32, 8 writers, against `cp -r X Y && sync -f Y`\n", static_cast<double>(options.outputBytes) * 1e-9);
    bool worked = reportPairs(options, {model, options.folder + "/written", options.folder + "/reference", {"--to", "dcp", "--dp", "8"}, 1.3});
    worked = worked && convertOnce(options, {model, saved, "", {"--to", "dcp", "--dp", "8"}, 1.3}, saved).exitCode == 0;
    worked = worked && reportPairs(options, {saved, options.folder + "/one", options.folder + "/reference", {"--to", "safetensors"}, 1.3});
    fs::remove_all(saved);
    fs::remove(model);
    return worked && reportManyChunks(options) && reportGridPlan(options);
}

} // namespace shardlens::benchmark
