#pragma once

#include "core/format/megatron/rank_set.h"

#include <optional>
#include <string>
#include <vector>

namespace shardlens::megatron {

// A parameter of the model on a rank of the target.
struct Placed {
    std::string global;
    std::string local;       // with the stage's layer numbers and the rank's expert numbers
    TensorId tensor{};       // of the joined model: its own copy, not the master
};

// Which parameters each stage and expert-parallel rank of the target holds, in the model's order.
class Placement {
public:
    // Refused: layers or experts that the sizes do not divide (with the sizes that do).
    [[nodiscard]] static Result<Placement> of(const RankSet& source, const Checkpoint& joined, const Sizes& target);

    // In the order in which the model of that rank registers them.
    [[nodiscard]] std::vector<Placed> onRank(std::uint32_t stage, std::uint32_t ep) const;
    // Every parameter once: its name in the whole model and the tensor of the model's own copy.
    [[nodiscard]] std::vector<std::pair<std::string, TensorId>> modelTensors() const;

private:
    struct Place {
        std::string name;
        TensorId tensor{};
        std::uint32_t stage = 0;
        std::optional<std::uint64_t> localLayer;
        std::optional<std::uint64_t> expert;
    };
    const RankSet* m_source = nullptr;
    Sizes m_target;
    std::uint64_t m_expertsOfRank = 1;
    std::vector<Place> m_places; // in registration order
};

} // namespace shardlens::megatron
