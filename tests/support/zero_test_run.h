#pragma once

#include "tests/support/torch_test_file.h"

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

namespace shardlens::test {

// A ZeRO run to be written, and what its tensors hold. Values are small multiples of 1/8: exact in every precision.
struct ZeroTestRun {
    struct Parameter {
        std::string name;
        std::vector<std::uint64_t> shape;
        std::uint32_t group = 0;

        [[nodiscard]] std::uint64_t count() const;
    };
    std::vector<Parameter> parameters; // in model order
    std::uint32_t world = 2;
    int stage = 2;                          // 1, 2 or 3
    std::uint64_t subGroupSize = 1'000'000'000; // ZeRO-3
    bool stripPadding = true;   // masters without padding, per rank (≥ 0.16.4); else the last rank alone loses it
    bool alignParameters = false; // stage 1, 2: parameter_alignment, 8 elements
    bool stepTensors = false;   // "step" as a tensor of its own in every state, as torch keeps it; else a number
    std::vector<PyItem> clientState; // more members of the model file
    std::string unknownClass;     // "train.Config": the model file holds an object of it
    bool sparse = false;          // payload as holes in the files: all zeros

    // The value of element `index` of a parameter's state (0: master, 1: exp_avg, 2: exp_avg_sq).
    [[nodiscard]] float valueAt(std::size_t parameter, int state, std::uint64_t index) const;
    // Writes root/latest and root/<tag>/….
    void write(const std::string& root, const std::string& tag) const;
};

} // namespace shardlens::test
