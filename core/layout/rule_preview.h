#pragma once

#include "core/layout/rule_set.h"
#include "core/model/checkpoint.h"

#include <cstdint>
#include <string>
#include <vector>

namespace shardlens {

// What the rules of a set make of the parameters of a checkpoint. Points into the set, which must outlive it.
struct RulePreview {
    // A rule and the parameters that it is for, in the model's order.
    struct Use {
        const ShardRule* rule = nullptr;
        std::vector<TensorId> tensors;
    };
    struct Problem {
        std::string name; // of the parameter
        std::string text; // a fragment
    };

    std::uint32_t ranks = 1;               // over which they are divided
    std::vector<Use> uses;                 // of every rule in its order; the one for everything else last, where there is one
    std::vector<Problem> unmatched;        // no rule is for them: no pattern matches, or the conditions of those that do are not met
    std::vector<Problem> matchedTwice;     // two rules match, in a set whose first does not win
    std::vector<Problem> undivided;        // a rule is for them, and they cannot be cut as it says
};

// Weights and buffers, each once, and what could not become a tensor (Checkpoint::lostTensors). `ranks` 0: as many tensor-parallel ranks as the checkpoint has.
[[nodiscard]] RulePreview previewRules(const RuleSet& rules, const Checkpoint& checkpoint, std::uint32_t ranks);

// The shape of every rank's part of a tensor. Refused where the rule cannot cut it.
[[nodiscard]] Result<std::vector<Shape>> partShapes(const ShardRule& rule, ShapeView whole, std::uint32_t ranks, const Facts& facts);

} // namespace shardlens
