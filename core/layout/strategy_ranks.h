#pragma once

#include "core/base/result.h"
#include "core/layout/mindspore_strategy.h"

#include <cstdint>
#include <vector>

namespace shardlens::mindspore {

// The source ranks whose files MindSpore's transform opens for a target rank: rank_list_for_transform of 2.3.1 and later, exactly (formats/mindspore.md §5.2,
// §5.3). More than a conversion needs: every stage times every local rank. nullptr stands for no strategy: the full model on one device.
// What two layouts need of each other is found once a pair, so that asking for all ranks of a large model is cheap. The strategies must outlive this; one thread.
class NeededRanks {
public:
    // Refused: device counts of which neither divides the other, a parameter that has another number of dimensions on the two sides. LimitExceeded: parameters
    // times target stages are more than 2²⁸.
    [[nodiscard]] static Result<NeededRanks> make(const Strategy* source, const Strategy* target);

    // Ranks that can be asked about: the target's world, 1 without one.
    [[nodiscard]] std::uint64_t targetRanks() const;
    // Global source ranks, descending; empty where the two have no parameter of that stage in common. Refused: a rank beyond targetRanks(). LimitExceeded:
    // devices times different pairs of layouts are more than 2³².
    [[nodiscard]] Result<std::vector<std::uint64_t>> of(std::uint64_t targetRank) const;

    // Which ranks of the unified device space a tensor is gathered from: those that agree with a rank on every axis that is not gathered.
    struct Gather {
        Shape axes; // sizes, the last fastest
        std::vector<bool> isGathered;

        auto operator<=>(const Gather&) const = default;
    };

private:
    // What the parameters of one target stage ask for together.
    struct StageNeeds {
        std::vector<Gather> gathers; // distinct
        std::vector<std::uint32_t> sourceStages;
    };
    NeededRanks(const Strategy* source, const Strategy* target) : m_source(source), m_target(target) {}
    Result<StageNeeds> needsOf(std::uint32_t targetStage) const;

    const Strategy* m_source;
    const Strategy* m_target;
    std::vector<StageNeeds> m_stages; // by target stage
};

} // namespace shardlens::mindspore
