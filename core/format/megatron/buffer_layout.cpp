#include "core/format/megatron/buffer_layout.h"

#include "core/base/checked.h"
#include "core/base/text.h"

#include <fmt/format.h>

#include <algorithm>
#include <numeric>

namespace shardlens::megatron {
namespace {

constexpr std::uint64_t kLeastBucket = 40'000'000;
constexpr std::uint64_t kBucketOfRank = 1'000'000;
constexpr std::uint64_t kMostRanksTried = 4096;  // where the arguments do not say how many there are
constexpr std::uint64_t kMostRanks = 1u << 24;
constexpr std::uint64_t kPadAlignment = 128;
constexpr std::uint64_t kBusAlignment = 65536;   // pad_buckets_for_high_nccl_busbw
constexpr std::size_t kMostLengthsSaid = 4;

std::optional<std::uint64_t> roundedUp(std::uint64_t number, std::uint64_t multiple)
{
    return checkedMul(ceilDiv(number, multiple), multiple);
}

// A way to lay the buffer out, and whether it is what the arguments say.
struct RuleToTry {
    BufferRule rule;
    bool isSaid = true;
};

std::vector<RuleToTry> rulesToTry(const BufferLengths& found, const BufferArguments& arguments)
{
    std::vector<std::pair<std::optional<std::uint64_t>, bool>> sizes{{std::nullopt, !arguments.isFirst || !arguments.overlaps.value_or(false)}};
    if (found.kind != BufferLengths::Kind::Padded) { // which is older than buckets, those of shared embeddings too
        const bool mayHave = arguments.isFirst && arguments.overlaps.value_or(true);
        const std::uint64_t usual = usualBucketSize(arguments.dataParallel.value_or(1));
        if (arguments.ddpBucketSize)
            sizes.emplace_back(arguments.ddpBucketSize, mayHave);
        sizes.emplace_back(usual, mayHave && !arguments.ddpBucketSize);
    }
    std::vector<RuleToTry> out;
    for (const auto& [size, isSaid] : sizes)
        for (const bool splitsShared : {true, false}) {
            const bool isPadded = found.kind == BufferLengths::Kind::Padded;
            if (isPadded ? splitsShared : arguments.isTied && *arguments.isTied != splitsShared)
                continue;
            if (!isPadded)
                out.push_back({{64, size, false, splitsShared}, isSaid});
            out.push_back({{1, size, false, splitsShared}, isSaid});
            if (size)
                out.push_back({{1, size, true, splitsShared}, isSaid});
        }
    return out;
}

// What the ends of buckets are multiples of.
std::vector<std::uint64_t> padsToTry(std::uint64_t ranks, const BufferRule& rule, const BufferLengths& found)
{
    const std::uint64_t wide = std::lcm(ranks, kPadAlignment);
    std::vector<std::uint64_t> out{wide, std::lcm(wide, kBusAlignment)};
    if (rule.alignment == 1)
        out.push_back(ranks);
    if (found.kind == BufferLengths::Kind::Padded)
        out.push_back(1);
    return out;
}

bool padsTo(const BufferLayout& layout, const std::vector<std::uint64_t>& lengths, std::uint64_t pad)
{
    for (std::size_t i = 0; i < lengths.size(); ++i)
        if (roundedUp(layout.unpadded[i], pad) != lengths[i])
            return false;
    return true;
}

bool agrees(const BufferLayout& layout, const BufferRule& rule, const BufferLengths& found, const BufferArguments& arguments)
{
    if (!found.unpadded.empty() && found.unpadded != layout.unpadded && (found.unpadded.size() != 1 || found.unpadded[0] != layout.length()))
        return false;
    if (found.kind == BufferLengths::Kind::Coalesced)
        return found.lengths == std::vector{layout.length()};
    if (found.lengths.size() != layout.unpadded.size())
        return false;
    if (found.lengths == layout.unpadded)
        return true;
    const std::uint64_t first = arguments.dataParallel.value_or(1);
    const std::uint64_t last = arguments.dataParallel.value_or(kMostRanksTried);
    for (std::uint64_t ranks = first; ranks <= last && ranks <= kMostRanks; ++ranks)
        for (const std::uint64_t pad : padsToTry(ranks, rule, found))
            if (padsTo(layout, found.lengths, pad))
                return true;
    return false;
}

std::string lengthsText(const std::vector<std::uint64_t>& lengths)
{
    std::string out;
    for (std::size_t i = 0; i < lengths.size() && i < kMostLengthsSaid; ++i)
        out += (i == 0 ? "" : " + ") + groupedText(lengths[i]);
    return lengths.size() > kMostLengthsSaid ? fmt::format("{} + … ({} buckets)", out, lengths.size()) : out;
}

std::string ruleText(const BufferRule& rule)
{
    return fmt::format("{}, {}", rule.alignment == 1 ? "end to end" : fmt::format("every {} elements", rule.alignment),
                       rule.bucketSize ? fmt::format("buckets of {}{}", groupedText(*rule.bucketSize), rule.needsTwo ? " and two parameters" : "")
                                       : std::string("one bucket"));
}

Error noneAgrees(std::span<const BufferParameter> parameters, const BufferLengths& found, const std::vector<std::pair<RuleToTry, BufferLayout>>& tried)
{
    std::string expected;
    std::vector<std::vector<std::uint64_t>> said;
    for (const auto& [rule, layout] : tried) {
        const auto lengths = found.kind == BufferLengths::Kind::Coalesced ? std::vector{layout.length()} : layout.unpadded;
        if (std::find(said.begin(), said.end(), lengths) != said.end())
            continue;
        said.push_back(lengths);
        expected += fmt::format("{}{} ({})", expected.empty() ? "" : ", ", lengthsText(lengths), ruleText(rule.rule));
    }
    return {ErrorCode::Corrupt,
            fmt::format("it holds {} elements, and {} need {}{}; parameters that do not train, or another order, would explain it", lengthsText(found.lengths),
                        plural(parameters.size(), "parameter", "parameters"), expected.empty() ? "more than 2^64" : expected,
                        found.kind == BufferLengths::Kind::Coalesced ? "" : " before padding")};
}

} // namespace

std::uint64_t BufferLayout::length() const
{
    return std::accumulate(unpadded.begin(), unpadded.end(), std::uint64_t{0});
}

std::vector<std::uint64_t> BufferLayout::begins() const
{
    std::vector<std::uint64_t> before(unpadded.size(), 0);
    std::exclusive_scan(unpadded.begin(), unpadded.end(), before.begin(), std::uint64_t{0});
    std::vector<std::uint64_t> out;
    for (const Place& place : places)
        out.push_back(before[place.bucket] + place.begin);
    return out;
}

std::uint64_t usualBucketSize(std::uint64_t dataParallel)
{
    return std::max(kLeastBucket, kBucketOfRank * std::min(dataParallel, kMostRanks));
}

std::optional<BufferLayout> layOutBuffer(std::span<const BufferParameter> parameters, const BufferRule& rule)
{
    BufferLayout out;
    out.rule = rule;
    out.places.resize(parameters.size());
    std::uint64_t end = 0; // of what the open bucket holds; buckets begin where every alignment is kept
    std::uint64_t total = 0;
    std::size_t inBucket = 0;
    const auto close = [&](std::uint64_t at) {
        const auto sum = checkedAdd(total, at);
        out.unpadded.push_back(at);
        total = sum.value_or(0);
        end = 0;
        inBucket = 0;
        return sum.has_value();
    };
    for (std::size_t i = parameters.size(); i-- > 0;) {
        const bool isShared = rule.splitsShared && parameters[i].isShared;
        auto begin = roundedUp(end, rule.alignment);
        if (begin && isShared && inBucket > 0) {
            if (!close(*begin))
                return std::nullopt;
            begin = 0;
        }
        const auto next = begin ? checkedAdd(*begin, parameters[i].count) : std::nullopt;
        if (!next)
            return std::nullopt;
        out.places[i] = {out.unpadded.size(), *begin};
        end = *next;
        ++inBucket;
        const bool isFull = rule.bucketSize && end >= *rule.bucketSize && (!rule.needsTwo || inBucket > 1);
        if ((isShared || isFull) && !close(end))
            return std::nullopt;
    }
    if (inBucket > 0 && !close(end))
        return std::nullopt;
    return out;
}

Result<BufferLayout> chooseBufferLayout(std::span<const BufferParameter> parameters, const BufferLengths& found, const BufferArguments& arguments)
{
    std::vector<std::pair<RuleToTry, BufferLayout>> tried;
    std::vector<const std::pair<RuleToTry, BufferLayout>*> agreeing;
    for (const RuleToTry& one : rulesToTry(found, arguments))
        if (auto layout = layOutBuffer(parameters, one.rule))
            tried.emplace_back(one, std::move(*layout));
    for (const bool isSaid : {true, false}) {
        for (const auto& one : tried)
            if (one.first.isSaid == isSaid && agrees(one.second, one.first.rule, found, arguments))
                agreeing.push_back(&one);
        if (!agreeing.empty())
            break;
    }
    if (agreeing.empty())
        return noneAgrees(parameters, found, tried);
    const BufferLayout& chosen = agreeing.front()->second;
    const auto samePlaces = [&](const BufferLayout& other) {
        return found.kind == BufferLengths::Kind::Buckets ? other.places == chosen.places : other.begins() == chosen.begins();
    };
    for (const auto* other : agreeing)
        if (!samePlaces(other->second))
            return Error{
                ErrorCode::Unsupported,
                fmt::format("two layouts agree with its {} elements and place the parameters differently ({}; {}), so which bytes are whose cannot be told",
                            lengthsText(found.lengths), ruleText(agreeing.front()->first.rule), ruleText(other->first.rule))};
    return chosen;
}

} // namespace shardlens::megatron
