#pragma once

#include "core/layout/mindspore_strategy.h"

#include <QString>

#include <cstdint>
#include <set>
#include <string>
#include <utility>
#include <vector>

namespace shardlens::ui::test {

// A run of MindSpore to be written: float32 parameters, cut by their layouts, on every rank's file; value i of a parameter is its number in the list plus i / 1000.
struct MindSporeSample {
    struct Parameter {
        std::string name;
        Shape shape;
        mindspore::ParameterLayout layout; // no device matrix: in no strategy, whole on every rank
        std::uint32_t stage = 0;
    };
    std::vector<Parameter> parameters;
    std::uint32_t stages = 1;
    std::set<std::uint32_t> missing; // ranks without a file
    std::set<std::pair<std::uint32_t, std::string>> stripped; // parameters that a rank's file leaves to others
    std::uint64_t recordBytes = 1u << 20; // longer tensors are cut into records

    // Eight ranks, D = [2, 4]: "embed.weight" [16, 12] by rows over axis 0, "dense.weight" [8, 12] by both, "norm.gamma" [12] whole, "global_step" [1] unlisted.
    [[nodiscard]] static MindSporeSample eight();
    // The same tensors on four ranks, D = [2, 2].
    [[nodiscard]] static MindSporeSample four();
    // One parameter over that matrix.
    [[nodiscard]] static MindSporeSample of(const Shape& deviceMatrix, const Shape& shape, std::vector<std::vector<std::uint32_t>> tensorMap);

    [[nodiscard]] mindspore::Strategy strategy() const;
    // Writes folder/rank_N/net_rank_N.ckpt for every rank.
    void writeRun(const std::string& folder) const;
    // Writes the strategy as protobuf, or as JSON where the name ends so.
    void writeStrategy(const std::string& path) const;
};

[[nodiscard]] mindspore::ParameterLayout layoutOf(const Shape& deviceMatrix, std::vector<std::vector<std::uint32_t>> tensorMap);

} // namespace shardlens::ui::test
