#include "core/layout/partition.h"

#include "core/base/text.h"
#include "core/layout/partition_parts.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <limits>
#include <numeric>

namespace shardlens {
namespace {

constexpr std::uint64_t kMostWeight = std::numeric_limits<std::int64_t>::max(); // the original sums in 64 bits with a sign

std::string loweredAscii(std::string_view text)
{
    std::string out(text);
    for (char& c : out)
        if (c >= 'A' && c <= 'Z')
            c = static_cast<char>(c - 'A' + 'a');
    return out;
}

Status checkCounts(const PartitionRequest& request)
{
    if (request.layers == 0)
        return Error{ErrorCode::Refused, "there are no layers to partition"};
    if (request.stages == 0)
        return Error{ErrorCode::Refused, "0 stages: at least 1 is needed"};
    if (request.layers > kMostLayers)
        return Error{ErrorCode::LimitExceeded, fmt::format("{} layers, at most {}", groupedText(request.layers), groupedText(kMostLayers))};
    if (request.stages > kMostStages)
        return Error{ErrorCode::LimitExceeded, fmt::format("{} stages, at most {}", groupedText(request.stages), groupedText(kMostStages))};
    if (!request.weights.empty() && request.weights.size() != request.layers)
        return Error{ErrorCode::Refused, fmt::format("{} for {}", plural(request.weights.size(), "weight", "weights"),
                                                     plural(request.layers, "layer", "layers"))};
    if (!request.names.empty() && request.names.size() != request.layers)
        return Error{ErrorCode::Refused,
                     fmt::format("{} for {}", plural(request.names.size(), "name", "names"), plural(request.layers, "layer", "layers"))};
    return {};
}

Status checkSum(std::span<const std::uint64_t> weights)
{
    std::uint64_t sum = 0;
    for (const std::uint64_t weight : weights) {
        if (weight > kMostWeight - sum)
            return Error{ErrorCode::Refused, fmt::format("the weights sum to more than {}", kMostWeight)};
        sum += weight;
    }
    return {};
}

// "Embed, squash, Block, …": the different names, the first few.
std::string classNamesText(std::span<const std::string> names)
{
    constexpr std::size_t kSaid = 6;
    std::vector<std::string> distinct;
    for (const std::string& name : names) {
        if (std::find(distinct.begin(), distinct.end(), printable(name)) != distinct.end())
            continue;
        if (distinct.size() == kSaid)
            return fmt::format("{}, …", fmt::join(distinct, ", "));
        distinct.push_back(printable(name));
    }
    return fmt::format("{}", fmt::join(distinct, ", "));
}

// 1 for each layer whose class name the pattern is found in.
Result<std::vector<std::uint64_t>> matchingLayers(const Regex& pattern, const PartitionRequest& request)
{
    if (request.names.empty())
        return Error{ErrorCode::Refused, "the method 'type:' searches class names, which no checkpoint stores: give the layers' names"};
    std::vector<std::uint64_t> out;
    for (const std::string& name : request.names)
        out.push_back(pattern.search(name) ? 1 : 0);
    if (std::find(out.begin(), out.end(), 1u) == out.end())
        return Error{ErrorCode::Refused, fmt::format("Partitioning '{}' found no valid layers to partition; give a pattern that is found, "
                                                     "whatever the case, in a name of the layers: {}",
                                                     printable(pattern.pattern()), classNamesText(request.names))};
    return out;
}

Partition partitionOf(std::vector<std::uint32_t> parts, std::span<const std::uint64_t> weights)
{
    Partition out;
    out.hasWeights = !weights.empty();
    out.stages = stagesOf(parts, weights);
    out.parts = std::move(parts);
    return out;
}

} // namespace

Result<PartitionRules> partitionRulesOf(std::string_view deepspeedVersion)
{
    std::array<std::uint32_t, 3> numbers{};
    std::string_view left = deepspeedVersion.substr(deepspeedVersion.starts_with('v') ? 1 : 0);
    for (std::size_t i = 0; i < numbers.size(); ++i) {
        const auto [end, problem] = std::from_chars(left.data(), left.data() + left.size(), numbers[i]);
        if (problem != std::errc{})
            return Error{ErrorCode::Refused, fmt::format("'{}' is no version of DeepSpeed: 0.12.5 is one", printable(deepspeedVersion))};
        left.remove_prefix(static_cast<std::size_t>(end - left.data()));
        if (i + 1 == numbers.size() || !left.starts_with('.'))
            break;
        left.remove_prefix(1);
    }
    if (left.starts_with('.') || left.size() == deepspeedVersion.size())
        return Error{ErrorCode::Refused, fmt::format("'{}' is no version of DeepSpeed: 0.12.5 is one", printable(deepspeedVersion))};
    return PartitionRules{numbers >= std::array<std::uint32_t, 3>{0, 10, 1}, numbers >= std::array<std::uint32_t, 3>{0, 12, 5}};
}

Result<PartitionMethod> parsePartitionMethod(std::string_view text)
{
    const std::string lowered = loweredAscii(text);
    if (lowered == "uniform")
        return PartitionMethod{PartitionMethod::Kind::Uniform, std::nullopt};
    if (lowered == "parameters")
        return PartitionMethod{PartitionMethod::Kind::Parameters, std::nullopt};
    constexpr std::string_view kType = "type:";
    if (!lowered.starts_with(kType))
        return Error{ErrorCode::Refused,
                     fmt::format("Partitioning method {} not implemented; uniform, parameters and type:PATTERN are", printable(lowered))};
    const std::string pattern = lowered.substr(kType.size(), lowered.find(':', kType.size()) - kType.size());
    SHARDLENS_ASSIGN(Regex compiled, Regex::compile(pattern, true));
    return PartitionMethod{PartitionMethod::Kind::Type, std::move(compiled)};
}

std::string nameOf(const PartitionMethod& method)
{
    switch (method.kind) {
    case PartitionMethod::Kind::Uniform: return "uniform";
    case PartitionMethod::Kind::Parameters: return "parameters";
    case PartitionMethod::Kind::Type: return "type:" + (method.type ? method.type->pattern() : std::string{});
    }
    return "";
}

Result<Partition> partitionLayers(const PartitionRequest& request, std::stop_token stop)
{
    SHARDLENS_TRY(checkCounts(request));
    SHARDLENS_TRY(checkSum(request.weights));
    const auto layers = static_cast<std::uint32_t>(request.layers);
    const auto stages = static_cast<std::uint32_t>(request.stages);
    if (request.method.kind == PartitionMethod::Kind::Uniform)
        return partitionOf(uniformParts(layers, stages, request.rules), request.weights);
    if (request.method.kind == PartitionMethod::Kind::Type) {
        SHARDLENS_ASSIGN(const std::vector<std::uint64_t> matches, matchingLayers(request.method.type.value(), request));
        SHARDLENS_ASSIGN(std::vector<std::uint32_t> parts, balancedParts(matches, stages, request.rules, std::move(stop)));
        Partition out = partitionOf(std::move(parts), matches);
        out.countsMatches = true;
        return out;
    }
    if (request.weights.empty())
        return Error{ErrorCode::Refused,
                     "the method 'parameters' balances weights: give those of the layers, or a checkpoint that has them"};
    SHARDLENS_ASSIGN(std::vector<std::uint32_t> parts, balancedParts(request.weights, stages, request.rules, std::move(stop)));
    return partitionOf(std::move(parts), request.weights);
}

Result<Partition> partitionAt(std::vector<std::uint32_t> parts, std::uint64_t layers, std::span<const std::uint64_t> weights)
{
    SHARDLENS_TRY(checkCounts({layers, parts.size() < 2 ? 0 : parts.size() - 1, {}, {}, weights, {}}));
    SHARDLENS_TRY(checkSum(weights));
    if (parts.front() != 0 || parts.back() != layers)
        return Error{ErrorCode::Refused, fmt::format("the boundaries go from {} to {}, they have to go from 0 to {}, the number of layers",
                                                     parts.front(), parts.back(), layers)};
    for (std::size_t i = 1; i < parts.size(); ++i)
        if (parts[i] < parts[i - 1])
            return Error{ErrorCode::Refused, fmt::format("boundary {} is {}, less than the {} before it", i, parts[i], parts[i - 1])};
    return partitionOf(std::move(parts), weights);
}

std::vector<PartitionStage> stagesOf(std::span<const std::uint32_t> parts, std::span<const std::uint64_t> weights)
{
    std::vector<PartitionStage> out;
    for (std::size_t i = 0; i + 1 < parts.size(); ++i) {
        PartitionStage stage{parts[i], parts[i + 1], 0};
        if (!weights.empty())
            for (const std::uint64_t weight : weights.subspan(stage.begin, stage.end - stage.begin))
                stage.weight += weight;
        out.push_back(stage);
    }
    return out;
}

PartitionBalance balanceOf(std::span<const PartitionStage> stages)
{
    PartitionBalance out;
    if (stages.empty())
        return out;
    const auto lighter = [](const PartitionStage& a, const PartitionStage& b) { return a.weight < b.weight; };
    const auto heaviest = std::max_element(stages.begin(), stages.end(), lighter);
    out.heaviest = static_cast<std::size_t>(heaviest - stages.begin());
    out.most = heaviest->weight;
    out.least = std::min_element(stages.begin(), stages.end(), lighter)->weight;
    const std::uint64_t sum = std::accumulate(stages.begin(), stages.end(), std::uint64_t{0},
                                              [](std::uint64_t a, const PartitionStage& b) { return a + b.weight; });
    out.mean = static_cast<double>(sum) / static_cast<double>(stages.size());
    out.imbalance = sum == 0 ? 1 : static_cast<double>(out.most) / out.mean;
    return out;
}

std::uint64_t firstRankOf(std::uint64_t stage, const StageAxes& axes)
{
    return stage * axes.dp * axes.tp;
}

} // namespace shardlens
