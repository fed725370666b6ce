#pragma once

#include "core/base/regex.h"
#include "core/base/result.h"

#include <cstdint>
#include <optional>
#include <span>
#include <stop_token>
#include <string>
#include <string_view>
#include <vector>

namespace shardlens {

// How DeepSpeed's PipelineModule cuts a list of layers into pipeline stages (formats/deepspeed.md §11.5). Pure functions: exactly its boundaries.

// What changed between versions of DeepSpeed. Default: as since 0.12.5.
struct PartitionRules {
    bool spreadsRest = true; // uniform: since 0.10.1 the first stages get one layer more each; before, the last stage took the whole rest
    bool balancesExactly = true; // parameters, type: since 0.12.5 by dynamic programming; before, by bisection of the heaviest stage

    bool operator==(const PartitionRules&) const = default;
};
// "0.9.2", "v0.12.4+cu118": the rules of that version. Refused where the text is no version.
[[nodiscard]] Result<PartitionRules> partitionRulesOf(std::string_view deepspeedVersion);

// A partition method as PipelineModule reads it: the whole text is lowered first, so "TYPE:\S" searches "\s".
struct PartitionMethod {
    enum class Kind : std::uint8_t { Uniform, Parameters, Type };
    Kind kind = Kind::Parameters;
    std::optional<Regex> type; // Kind::Type: what is between the first ':' and the next, searched in class names, ignoring case
};
// Refused by name: "profile" and what else the original does not implement; a pattern that does not compile.
[[nodiscard]] Result<PartitionMethod> parsePartitionMethod(std::string_view text);
[[nodiscard]] std::string nameOf(const PartitionMethod& method); // "uniform", "parameters", "type:block"

constexpr std::uint64_t kMostLayers = 100'000;
constexpr std::uint64_t kMostStages = 10'000;

struct PartitionRequest {
    std::uint64_t layers = 0;
    std::uint64_t stages = 0;
    PartitionMethod method;
    PartitionRules rules;
    std::span<const std::uint64_t> weights; // trainable parameters a layer; empty where nobody knows them
    std::span<const std::string> names; // class names of the layers (names of functions); empty where nobody knows them
};

struct PartitionStage {
    std::uint32_t begin = 0; // first layer
    std::uint32_t end = 0; // behind the last
    std::uint64_t weight = 0;

    bool operator==(const PartitionStage&) const = default;
};

struct Partition {
    std::vector<std::uint32_t> parts; // stages + 1 boundaries, from 0 to the number of layers
    std::vector<PartitionStage> stages;
    bool hasWeights = false; // uniform without weights: stages weigh nothing
    bool countsMatches = false; // weights are numbers of layers that match the pattern
};

// Refused: no layers, no stages, weights or names that a method needs and that are not there or of another number than the layers, a sum past 2⁶³ − 1,
// a pattern that matches no layer. LimitExceeded: more layers or stages than above, or more steps than anybody waits for. Cancelled when stopped.
[[nodiscard]] Result<Partition> partitionLayers(const PartitionRequest& request, std::stop_token stop = {});

// A person's own boundaries. Refused, with the numbers, where they do not ascend from 0 to the number of layers, or the sum is past 2⁶³ − 1.
[[nodiscard]] Result<Partition> partitionAt(std::vector<std::uint32_t> parts, std::uint64_t layers, std::span<const std::uint64_t> weights);

// The stages between boundaries that are right, with the sums of any weights a layer; without weights they weigh 0. Sums must fit.
[[nodiscard]] std::vector<PartitionStage> stagesOf(std::span<const std::uint32_t> parts, std::span<const std::uint64_t> weights);

struct PartitionBalance {
    std::size_t heaviest = 0; // the first stage of the greatest weight
    std::uint64_t most = 0;
    std::uint64_t least = 0;
    double mean = 0;
    double imbalance = 1; // most / mean; 1 where everything weighs 0
};
[[nodiscard]] PartitionBalance balanceOf(std::span<const PartitionStage> stages);

// Sizes of the axes inside a stage.
struct StageAxes {
    std::uint32_t dp = 1;
    std::uint32_t tp = 1;
};
// The first rank of a stage; the stage has dp · tp of them in a row: rank = (stage · dp + data) · tp + model (formats/deepspeed.md §11.2).
[[nodiscard]] std::uint64_t firstRankOf(std::uint64_t stage, const StageAxes& axes);

} // namespace shardlens
