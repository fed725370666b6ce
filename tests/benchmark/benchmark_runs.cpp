#include "tests/benchmark/benchmark_runs.h"

#include <algorithm>
#include <cstring>
#include <fstream>

namespace shardlens::benchmark {
namespace {

constexpr std::uint64_t kHidden = 1536;
constexpr std::uint64_t kMlp = 4096;
constexpr std::uint64_t kVocabulary = 32'000;

void addLayer(test::ZeroTestRun& run, std::size_t layer, std::uint64_t hidden, std::uint64_t mlp)
{
    const std::string prefix = "model.layers." + std::to_string(layer) + ".";
    for (const char* name : {"q_proj", "k_proj", "v_proj", "o_proj"})
        run.parameters.push_back({prefix + "self_attn." + name + ".weight", {hidden, hidden}, 0});
    run.parameters.push_back({prefix + "mlp.gate_proj.weight", {mlp, hidden}, 0});
    run.parameters.push_back({prefix + "mlp.up_proj.weight", {mlp, hidden}, 0});
    run.parameters.push_back({prefix + "mlp.down_proj.weight", {hidden, mlp}, 0});
    run.parameters.push_back({prefix + "input_layernorm.weight", {hidden}, 1});
    run.parameters.push_back({prefix + "post_attention_layernorm.weight", {hidden}, 1});
}

std::uint64_t elementsOf(const test::ZeroTestRun& run)
{
    std::uint64_t total = 0;
    for (const auto& one : run.parameters)
        total += one.count();
    return total;
}

} // namespace

test::ZeroTestRun modelOf(std::uint64_t bytes, std::uint32_t ranks)
{
    test::ZeroTestRun run;
    run.world = ranks;
    run.stage = 2;
    const std::uint64_t wanted = bytes / sizeof(float);
    // Small outputs get a narrower model, so that it has layers at all.
    const std::uint64_t shrink = wanted < 100'000'000 ? 12 : 1;
    const std::uint64_t hidden = kHidden / shrink;
    run.parameters.push_back({"model.embed_tokens.weight", {kVocabulary / shrink, hidden}, 0});
    for (std::size_t layer = 0; layer == 0 || elementsOf(run) < wanted; ++layer)
        addLayer(run, layer, hidden, kMlp / shrink);
    run.parameters.push_back({"model.norm.weight", {hidden}, 1});
    return run;
}

test::ZeroTestRun manyTensors(std::size_t parameters, std::uint32_t ranks)
{
    test::ZeroTestRun run;
    run.world = ranks;
    run.stage = 2;
    run.sparse = true;
    for (std::size_t i = 0; i < parameters; ++i)
        run.parameters.push_back({"model.layers." + std::to_string(i / 16) + ".block_" + std::to_string(i % 16) + ".weight", {8, 16}, 0});
    return run;
}

void writeManySafetensors(const std::string& path, std::size_t tensors)
{
    std::string header = "{";
    for (std::size_t i = 0; i < tensors; ++i) {
        header += i == 0 ? "" : ",";
        header += "\"model.layers." + std::to_string(i / 16) + ".block_" + std::to_string(i % 16) +
                  R"(.weight":{"dtype":"F32","shape":[2,2],"data_offsets":[)" + std::to_string(i * 16) + "," + std::to_string(i * 16 + 16) +
                  "]}";
    }
    header += "}";
    header.resize((header.size() + 7) / 8 * 8, ' ');
    std::ofstream out(path, std::ios::binary);
    const std::uint64_t length = header.size();
    char bytes[sizeof length];
    std::memcpy(bytes, &length, sizeof length); // the machines this runs on are little-endian
    out.write(bytes, sizeof bytes);
    out << header;
    for (std::size_t i = 0; i < tensors; ++i)
        out.write("0123456789abcdef", 16);
}

bool writeFilled(const std::string& path, std::vector<SafetensorsEntry> entries, std::span<const std::byte> pattern)
{
    if (!placeInReferenceOrder(entries))
        return false;
    const auto header = safetensorsHeaderBytes(entries, {{"format", "pt"}});
    if (!header)
        return false;
    std::ofstream file(path, std::ios::binary);
    file.write(reinterpret_cast<const char*>(header->data()), static_cast<std::streamsize>(header->size()));
    for (std::uint64_t left = entries.back().end; left > 0; left -= std::min<std::uint64_t>(left, pattern.size()))
        file.write(reinterpret_cast<const char*>(pattern.data()), static_cast<std::streamsize>(std::min<std::uint64_t>(left, pattern.size())));
    return file.good();
}

} // namespace shardlens::benchmark
