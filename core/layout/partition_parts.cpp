#include "core/layout/partition_parts.h"

#include "core/base/text.h"

#include <fmt/format.h>

#include <algorithm>
#include <limits>
#include <numeric>

namespace shardlens {
namespace {

constexpr std::uint64_t kMostSteps = 10'000'000'000;
constexpr double kBisectionStep = 1e-3;
constexpr double kMostBisected = 8'796'093'022'208.0; // 2⁴³: half a unit in the last place is still less than the step
constexpr double kUnreached = std::numeric_limits<double>::infinity();

// The best way to cut the first i layers into so many stages: its heaviest and lightest stage.
struct BestCut {
    std::vector<double> heaviest;
    std::vector<double> lightest;
};

// One more stage: for each i ≥ stage where that stage begins, written to `begins`. Ties take the last begin. Partial where stopped.
BestCut addStage(const BestCut& before, std::span<const double> sums, std::uint32_t stage, std::span<std::uint32_t> begins,
                 const std::stop_token& stop)
{
    BestCut out{std::vector<double>(sums.size(), kUnreached), std::vector<double>(sums.size(), kUnreached)};
    for (std::size_t i = stage; i < sums.size() && !stop.stop_requested(); ++i) {
        double least = kUnreached;
        const std::size_t last = stage == 1 ? 0 : i - 1; // before the first stage nothing but 0 layers is cut,
        for (std::size_t k = stage - 1; k <= last; ++k) { // and fewer layers than stages never are
            const double own = sums[i] - sums[k];
            const double heaviest = std::max(before.heaviest[k], own);
            const double lightest = std::min(before.lightest[k], own);
            if (least >= heaviest - lightest) {
                least = heaviest - lightest;
                out.heaviest[i] = heaviest;
                out.lightest[i] = lightest;
                begins[i] = static_cast<std::uint32_t>(k);
            }
        }
    }
    return out;
}

Error stoppedError()
{
    return Error{ErrorCode::Cancelled, "cancelled"};
}

Result<std::vector<std::uint32_t>> exactParts(std::span<const std::uint64_t> weights, std::uint32_t stages, const std::stop_token& stop)
{
    const std::uint64_t layers = weights.size();
    if (const std::uint64_t steps = layers * layers * stages; steps > kMostSteps)
        return Error{ErrorCode::LimitExceeded, fmt::format("{} layers on {} stages take {} steps, at most {}", groupedText(layers),
                                                           groupedText(stages), groupedText(steps), groupedText(kMostSteps))};
    std::vector<double> sums{0}; // of whole numbers, each rounded once
    std::uint64_t sum = 0;
    for (const std::uint64_t weight : weights)
        sums.push_back(static_cast<double>(sum += weight));
    const std::size_t width = sums.size();
    std::vector<std::uint32_t> begins(width * stages);
    BestCut best{std::vector<double>(width, kUnreached), std::vector<double>(width, kUnreached)};
    best.heaviest[0] = 0; // no stage is lighter than none: that one stays unreached
    for (std::uint32_t stage = 1; stage <= stages; ++stage) {
        best = addStage(best, sums, stage, std::span(begins).subspan((stage - 1) * width, width), stop);
        if (stop.stop_requested())
            return stoppedError();
    }
    std::vector<std::uint32_t> parts{static_cast<std::uint32_t>(layers)};
    for (std::uint32_t stage = stages; stage >= 1; --stage)
        parts.push_back(begins[(stage - 1) * width + parts.back()]);
    std::reverse(parts.begin(), parts.end());
    return parts;
}

struct Probe {
    std::vector<std::uint32_t> parts;
    bool fits = false;
};

// Fills stage after stage up to the bottleneck, jumping in steps of a uniform stage.
Probe probeBottleneck(std::span<const double> sums, std::uint32_t stages, double bottleneck)
{
    const std::size_t layers = sums.size();
    const std::size_t chunk = layers / stages;
    Probe out{std::vector<std::uint32_t>(stages + std::size_t{1}, static_cast<std::uint32_t>(layers)), false};
    out.parts[0] = 0;
    double target = bottleneck;
    std::size_t step = chunk;
    for (std::uint32_t p = 1; p < stages; ++p) {
        while (step < layers && sums[step] < target)
            step += chunk;
        const auto from = sums.begin() + static_cast<std::ptrdiff_t>(step - chunk);
        const auto to = sums.begin() + static_cast<std::ptrdiff_t>(std::min(step, layers));
        const auto end = static_cast<std::size_t>(std::lower_bound(from, to, target) - sums.begin());
        out.parts[p] = static_cast<std::uint32_t>(end);
        if (end == layers) {
            out.fits = sums.back() - sums[out.parts[p - 1]] < bottleneck;
            return out;
        }
        target = (end == 0 ? sums.back() : sums[end - 1]) + bottleneck; // an empty first stage: the original's index −1 is the last sum
    }
    out.fits = target >= sums.back();
    return out;
}

Result<std::vector<std::uint32_t>> bisectedParts(std::span<const std::uint64_t> weights, std::uint32_t stages, const std::stop_token& stop)
{
    std::vector<double> sums;
    double sum = 0;
    for (const std::uint64_t weight : weights)
        sums.push_back(sum += static_cast<double>(weight));
    if (sum >= kMostBisected)
        return Error{ErrorCode::LimitExceeded,
                     fmt::format("the weights sum to {:.0f}, less than {:.0f} are allowed for DeepSpeed before 0.12.5: its bisection by "
                                 "thousandths does not end there",
                                 sum, kMostBisected)};
    double lower = sum / stages;
    double upper = sum;
    while (upper > lower + kBisectionStep) {
        if (stop.stop_requested())
            return stoppedError();
        const double middle = lower + (upper - lower) / 2;
        if (probeBottleneck(sums, stages, middle).fits)
            upper = middle;
        else
            lower = middle + kBisectionStep;
    }
    return probeBottleneck(sums, stages, upper).parts;
}

} // namespace

std::vector<std::uint32_t> uniformParts(std::uint32_t layers, std::uint32_t stages, const PartitionRules& rules)
{
    std::vector<std::uint32_t> out{0};
    const std::uint32_t chunk = layers / stages;
    const std::uint32_t rest = layers % stages;
    for (std::uint32_t p = 1; p <= stages; ++p) {
        if (layers <= stages)
            out.push_back(std::min(p, layers));
        else if (rules.spreadsRest)
            out.push_back(p * chunk + std::min(p, rest));
        else
            out.push_back(p == stages ? layers : p * chunk);
    }
    return out;
}

Result<std::vector<std::uint32_t>> balancedParts(std::span<const std::uint64_t> weights, std::uint32_t stages, const PartitionRules& rules,
                                                 std::stop_token stop)
{
    const auto layers = static_cast<std::uint32_t>(weights.size());
    if (layers <= stages)
        return uniformParts(layers, stages, rules);
    return rules.balancesExactly ? exactParts(weights, stages, stop) : bisectedParts(weights, stages, stop);
}

} // namespace shardlens
