#include "tests/benchmark/parallel_runs.h"

#include "tests/support/torch_test_file.h"

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include <algorithm>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <vector>

namespace shardlens::benchmark {
namespace {

using test::Py;
using test::pyDict;
using test::TestStorage;

constexpr std::uint32_t kTensorRanks = 2;
constexpr std::uint32_t kStages = 2;
constexpr std::uint32_t kDataRanks = 2;

struct Part {
    std::string name;
    std::vector<std::uint64_t> shape; // of one tensor-parallel rank

    [[nodiscard]] std::uint64_t count() const
    {
        std::uint64_t out = 1;
        for (const std::uint64_t extent : shape)
            out *= extent;
        return out;
    }
};

// What one tensor-parallel rank holds of a layer.
std::vector<Part> layerParts(std::uint64_t hidden, std::uint32_t ranks)
{
    return {{"input_layernorm.weight", {hidden}},
            {"attention.query_key_value.weight", {3 * hidden / ranks, hidden}},
            {"attention.query_key_value.bias", {3 * hidden / ranks}},
            {"attention.dense.weight", {hidden, hidden / ranks}},
            {"post_attention_layernorm.weight", {hidden}},
            {"mlp.dense_h_to_4h.weight", {4 * hidden / ranks, hidden}},
            {"mlp.dense_4h_to_h.weight", {hidden, 4 * hidden / ranks}}};
}

std::uint64_t hiddenOf(std::uint64_t bytes)
{
    return bytes < 100'000'000 ? 128 : 2048;
}

// Layers of 12 h² weights until there are `bytes`.
std::size_t layerCount(std::uint64_t bytes, std::uint64_t hidden, std::uint64_t bytesPerValue)
{
    return static_cast<std::size_t>(std::max<std::uint64_t>(bytes / (12 * hidden * hidden * bytesPerValue), 2));
}

// Numbers that nothing compresses away and no two neighbours share; no NaN in BF16 or F32.
TestStorage filled(std::uint64_t bytes, std::uint64_t seed)
{
    return {bytes, [seed](std::uint64_t offset, std::span<std::byte> out) {
                for (std::size_t i = 0; i < out.size(); ++i) {
                    const std::uint64_t at = offset + i;
                    out[i] = static_cast<std::byte>(((at * 37 + (at >> 9) * 11 + seed) % 251) & (at % 2 == 1 ? 0x3F : 0xFF));
                }
            }};
}

// A state dict in BF16.
void addParts(const std::vector<Part>& parts, const std::string& prefix, std::uint64_t seed, std::vector<std::pair<std::string, Py>>& names, std::vector<TestStorage>& storages)
{
    for (const Part& part : parts) {
        names.emplace_back(prefix + part.name, Py{Py::Tensor{"BFloat16Storage", storages.size(), part.count(), 0, part.shape, {}}});
        storages.push_back(filled(part.count() * 2, seed + storages.size()));
    }
}

Py numbers(std::initializer_list<std::int64_t> values)
{
    std::vector<Py> out;
    for (const std::int64_t value : values)
        out.push_back(Py{value});
    return Py{std::move(out)};
}

Py engineConfig()
{
    return pyDict({{"bf16", pyDict({{"enabled", Py{true}}})}, {"zero_optimization", pyDict({{"stage", Py{std::int64_t{1}}}})}});
}

void writeModelFile(const std::string& path, const std::vector<Part>& trained)
{
    Py::Dict shapes{{}, true};
    for (const Part& part : trained)
        shapes.items.emplace_back(Py{part.name}, test::pySize(part.shape));
    const std::int64_t modelRanks = kStages * kTensorRanks;
    test::writeTorchFile(path,
                         pyDict({{"module", Py{}}, {"buffer_names", Py{std::vector<Py>{}}}, {"optimizer", Py{}}, {"param_shapes", Py{std::vector<Py>{Py{std::move(shapes)}}}},
                                 {"frozen_param_shapes", Py{}}, {"shared_params", pyDict({})}, {"dp_world_size", Py{std::int64_t{kDataRanks}}}, {"mp_world_size", Py{modelRanks}},
                                 {"checkpoint_parallel_dimensions", pyDict({{"pp_degree", Py{std::int64_t{kStages}}}, {"tp_degree", Py{std::int64_t{kTensorRanks}}}})},
                                 {"ds_config", engineConfig()}, {"ds_version", Py{std::string("0.0-test")}}}),
                         {});
}

// Master and two moments, `count` elements each.
void writeOptimizerFile(const std::string& path, std::uint64_t count, std::uint64_t seed)
{
    const auto flat = [count](std::size_t storage) { return Py{Py::Tensor{"FloatStorage", storage, count, 0, {count}, {1}}}; };
    Py::Dict states;
    states.items.emplace_back(Py{std::int64_t{0}}, pyDict({{"step", Py{std::int64_t{7}}}, {"exp_avg", flat(1)}, {"exp_avg_sq", flat(2)}}));
    const Py base = pyDict({{"state", Py{std::move(states)}}, {"param_groups", Py{std::vector<Py>{pyDict({{"params", numbers({0})}})}}}});
    const Py stage{Py::Call{{"deepspeed.runtime.zero.config", "ZeroStageEnum"}, {Py{std::int64_t{1}}}}};
    const Py state = pyDict({{"zero_stage", stage}, {"partition_count", numbers({kDataRanks})}, {"base_optimizer_state", base}, {"single_partition_of_fp32_groups", Py{std::vector<Py>{flat(0)}}}});
    test::writeTorchFile(path, pyDict({{"optimizer_state_dict", state}, {"ds_config", engineConfig()}, {"ds_version", Py{std::string("0.0-test")}}}),
                         {filled(count * 4, seed), filled(count * 4, seed + 1), filled(count * 4, seed + 2)});
}

} // namespace

void writeRankList(const std::string& folder, std::uint64_t bytes, std::uint32_t ranks)
{
    std::filesystem::create_directories(folder);
    const std::uint64_t hidden = hiddenOf(bytes);
    nlohmann::json names = nlohmann::json::array();
    for (std::uint32_t rank = 0; rank < ranks; ++rank) {
        std::vector<std::pair<std::string, Py>> module;
        std::vector<TestStorage> storages;
        addParts({{"word_embeddings.weight", {8 * hidden / ranks, hidden}}}, "", rank, module, storages);
        for (std::size_t layer = 0; layer < layerCount(bytes, hidden, 2); ++layer)
            addParts(layerParts(hidden, ranks), fmt::format("layers.{}.", layer), rank, module, storages);
        names.push_back(fmt::format("mp_rank_{:02d}_model_states.pt", rank));
        test::writeTorchFile(folder + "/" + names.back().get<std::string>(),
                             pyDict({{"module", pyDict(std::move(module), true)}, {"mp_world_size", Py{std::int64_t{ranks}}}, {"checkpoint_version", Py{2.0}}}), storages);
    }
    std::ofstream(folder + "/list.json") << nlohmann::json{{"type", "Megatron"}, {"version", 2.0}, {"checkpoints", names}}.dump();
}

void writePipelineRun(const std::string& folder, std::uint64_t bytes)
{
    const std::string tag = folder + "/step1";
    std::filesystem::create_directories(tag);
    std::ofstream(folder + "/latest") << "step1";
    const std::uint64_t hidden = hiddenOf(bytes);
    const std::size_t layers = (layerCount(bytes, hidden, 4) + 1) / kStages * kStages;
    for (std::uint32_t model = 0; model < kTensorRanks; ++model) {
        const std::vector<Part> parts = layerParts(hidden, kTensorRanks);
        for (std::size_t layer = 0; layer < layers; ++layer) {
            std::vector<std::pair<std::string, Py>> names;
            std::vector<TestStorage> storages;
            addParts(parts, "", model + layer, names, storages);
            test::writeTorchFile(fmt::format("{}/layer_{:02d}-model_{:02d}-model_states.pt", tag, layer, model), pyDict(std::move(names), true), storages);
        }
        for (std::uint32_t stage = 0; stage < kStages; ++stage) {
            std::vector<Part> trained;
            std::uint64_t count = 0;
            for (std::size_t layer = stage * layers / kStages; layer < (stage + 1) * layers / kStages; ++layer)
                for (Part part : parts) {
                    count += part.count();
                    part.name = fmt::format("{}.{}", layer, part.name);
                    trained.push_back(std::move(part));
                }
            const std::uint32_t mpRank = stage * kTensorRanks + model;
            writeModelFile(fmt::format("{}/mp_rank_{:02d}_model_states.pt", tag, mpRank), trained);
            const std::uint64_t padded = (count + 2 * kDataRanks - 1) / (2 * kDataRanks) * (2 * kDataRanks);
            for (std::uint32_t data = 0; data < kDataRanks; ++data)
                writeOptimizerFile(fmt::format("{}/bf16_zero_pp_rank_{}_mp_rank_{:02d}_optim_states.pt", tag, data, mpRank), padded / kDataRanks, mpRank * 3 + data);
        }
    }
}

} // namespace shardlens::benchmark
