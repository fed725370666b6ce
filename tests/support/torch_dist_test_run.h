#pragma once

#include "tests/support/dcp_test_folder.h"

#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace shardlens::test {

// A checkpoint as megatron-core writes it from ranks of any sizes, by the letter of formats/megatron.md §6.4, §6.5 and §6.8. All tensors are float32.
struct TorchDistTestRun {
    enum class Optimizer { None, Whole, Flattened };
    Optimizer optimizer = Optimizer::None;
    std::string masterState = "fp32_param";
    std::string chain;          // "chained_0."
    std::string prefix;         // before the model's names: "module."
    bool stacked = true;        // layers in one tensor
    bool saysShapes = true;     // Flattened: mcore_data
    std::uint64_t layers = 3;
    std::uint64_t tp = 2;
    std::uint64_t dp = 2;       // Flattened: how many pieces a shard is cut into, anywhere
    std::uint64_t hidden = 6;
    std::uint64_t ffn = 4;
    std::uint64_t vocabulary = 8;
    std::uint64_t experts = 0;  // each layer has an MLP, or this many experts

    struct Parameter {
        std::string name; // of the whole model: "decoder.layers.1.mlp.linear_fc1.weight"
        std::string key;
        std::vector<std::uint64_t> shape; // of the model's tensor
        std::vector<std::pair<std::uint64_t, std::uint64_t>> stack; // number and count of each stacked axis
        std::optional<std::size_t> dim;   // that is cut over the tensor-parallel ranks
        std::uint64_t segments = 1;
    };
    [[nodiscard]] std::vector<Parameter> parameters() const;
    // All values of a tensor of the model; `state` is empty for the model's own.
    [[nodiscard]] static std::vector<float> whole(const Parameter& parameter, const std::string& state);

    [[nodiscard]] DcpTestFolder container() const;
    // `root`/iter_0000005/… with metadata.json, common.pt and the tracker.
    void write(const std::string& root, std::vector<std::pair<std::string, Py>> common = {}) const;
    static void writeBeside(const std::string& iteration, std::vector<std::pair<std::string, Py>> common); // metadata.json and common.pt
};

} // namespace shardlens::test
