#pragma once

#include "app/cli/console.h"
#include "app/cli/json_answer.h"
#include "core/base/regex.h"
#include "core/layout/mindspore_strategy.h"

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace shardlens::cli {

// Which source ranks each target rank needs. Target ranks that need the same list share it.
struct RankNeeds {
    std::vector<std::vector<std::uint64_t>> lists; // descending
    std::vector<std::pair<std::uint64_t, std::size_t>> ranks; // ascending: target rank, number of its list
};
void printRankNeeds(Console& console, const RankNeeds& needs, const mindspore::Strategy* source, const mindspore::Strategy* target);
// Written row by row: an object with a member a rank.
void printRankNeedsJson(Console& console, const RankNeeds& needs);

struct StrategyShowOptions {
    std::optional<std::uint64_t> rank; // global; only its stage's parameters, with what it holds of them
    std::vector<std::uint32_t> items{}; // numbers of those that are shown
    bool eachParameter = false;        // a row each; else one for those of a stage that are cut alike
};
void printStrategy(Console& console, const mindspore::Strategy& strategy, const StrategyShowOptions& options);
[[nodiscard]] Json strategyJson(const mindspore::Strategy& strategy, const StrategyShowOptions& options);

struct StrategyMergeAnswer {
    std::string file;
    std::uint64_t bytes = 0;
    std::vector<std::string> warnings;
};
void printMerge(Console& console, const mindspore::StrategyFolder& merged, const StrategyMergeAnswer& answer);
[[nodiscard]] Json mergeJson(const mindspore::StrategyFolder& merged, const StrategyMergeAnswer& answer);

} // namespace shardlens::cli
