#pragma once

#include "tests/support/torch_test_file.h"

#include <cstdint>
#include <string>
#include <vector>

namespace shardlens::test {

// A mixture-of-experts run to be written: layers of experts between two plain parameters. Values are small multiples of 1/8, exact in bfloat16, and
// follow from the parameter's name in the whole model.
struct MoeTestRun {
    std::uint32_t world = 4;
    std::uint32_t expertParallel = 2; // E
    std::uint32_t localExperts = 2;   // on each expert-parallel rank
    std::uint32_t layers = 2;
    bool dataFirst = false;           // use_data_before_expert_parallelism
    bool stripPadding = true;
    bool withZero = true;             // else expp_rank files
    bool oldNames = false;            // expert_E files of 0.5.x, num_experts a number
    bool stacked = false;             // AutoEP: one tensor a layer for all experts; with ZeRO
    bool stage3 = false;              // of AutoEP: ZeRO-3
    std::vector<std::vector<std::uint32_t>> placement; // of AutoEP: experts of each rank; empty: none is said
    std::uint64_t width = 3;
    std::vector<std::uint32_t> numExperts; // what the model file says; empty: what is true
    std::string groupName;                 // of the groups of experts; empty: what is true

    struct Parameter {
        std::string name; // in the whole model
        std::vector<std::uint64_t> shape;
        std::uint64_t first = 0; // element of the tensor of that name that it begins at

        [[nodiscard]] std::uint64_t count() const;
    };
    [[nodiscard]] std::uint32_t experts() const { return expertParallel * localExperts; } // of a layer
    // All parameters, in the model's order.
    [[nodiscard]] std::vector<Parameter> parameters() const;
    // 0: master, 1: exp_avg, 2: exp_avg_sq
    [[nodiscard]] static float valueAt(const std::string& name, int state, std::uint64_t index);
    // The expert-parallel rank of a data-parallel one, and its place among the ranks with the same experts.
    [[nodiscard]] std::uint32_t expertRank(std::uint32_t rank) const;
    [[nodiscard]] std::uint32_t place(std::uint32_t rank) const;
    [[nodiscard]] static std::string expertFile(std::uint32_t layer, std::uint32_t expert);

    // Writes root/latest and root/<tag>/….
    void write(const std::string& root, const std::string& tag) const;
};

} // namespace shardlens::test
