// What MindSpore's rank_list_for_transform answers: formats/mindspore.md §5.3, §7.3.
#include "core/layout/strategy_ranks.h"

#include "core/layout/strategy_boxes.h"

#include <algorithm>
#include <random>

#include "tests/core/layout/strategy_bytes.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace shardlens::mindspore {
namespace {

using test::layout;
using test::strategyOf;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using Parameter = StrategyParts::Parameter;

std::vector<std::uint64_t> needed(const Strategy* source, const Strategy* target, std::uint64_t rank)
{
    const auto ranks = NeededRanks::make(source, target);
    EXPECT_TRUE(ranks) << (ranks ? "" : ranks.error().text());
    auto out = ranks->of(rank);
    EXPECT_TRUE(out) << (out ? "" : out.error().text());
    return out.take();
}

class WorkedExample : public testing::Test {
protected:
    static std::vector<Parameter> source() { return {{"col", 0, layout({2, 2}, {{0}, {-1}}), {}}, {"row", 1, layout({2, 2}, {{-1}, {0}}), {}}}; }
    static std::vector<Parameter> target() { return {{"col", 0, layout({4}, {{0}, {-1}}), {}}, {"row", 0, layout({4}, {{-1}, {0}}), {}}}; }
};

TEST_F(WorkedExample, WithoutTheOptimizersShard)
{
    const Strategy from = strategyOf(source());
    const Strategy to = strategyOf(target());
    for (const std::uint64_t rank : {0u, 1u})
        EXPECT_THAT(needed(&from, &to, rank), ElementsAre(5, 4, 1, 0));
    for (const std::uint64_t rank : {2u, 3u})
        EXPECT_THAT(needed(&from, &to, rank), ElementsAre(7, 6, 3, 2));
}

TEST_F(WorkedExample, WithTheOptimizersShard)
{
    auto parameters = source();
    parameters.push_back({"opt", 0, layout({2, 2}, {{0}, {-1}}, 2, -1), {}});
    auto wanted = target();
    wanted.push_back({"opt", 0, layout({4}, {{0}, {-1}}), {}});
    const Strategy from = strategyOf(std::move(parameters));
    const Strategy to = strategyOf(std::move(wanted));
    for (std::uint64_t rank = 0; rank < 4; ++rank)
        EXPECT_THAT(needed(&from, &to, rank), ElementsAre(7, 6, 5, 4, 3, 2, 1, 0));
}

TEST(NeededRanks, OfAMissingStrategyAreTheWholeModel)
{
    const Strategy four = strategyOf({{"w", 0, layout({2, 2}, {{0}, {-1}}), {}}});
    EXPECT_THAT(needed(nullptr, &four, 3), ElementsAre(0));
    EXPECT_THAT(needed(nullptr, nullptr, 0), ElementsAre(0));
    EXPECT_THAT(needed(&four, nullptr, 0), ElementsAre(1, 0));
    const auto ranks = NeededRanks::make(&four, nullptr);
    EXPECT_EQ(ranks->targetRanks(), 1u);
    EXPECT_THAT(ranks->of(1).error().text(), HasSubstr("rank 0 only: without --strategy it is one device"));
}

TEST(NeededRanks, OfEqualLayoutsAreTheRankItself)
{
    const Strategy both = strategyOf({{"w", 0, layout({2, 2}, {{0}, {1}}), {}}});
    for (std::uint64_t rank = 0; rank < 4; ++rank)
        EXPECT_THAT(needed(&both, &both, rank), ElementsAre(rank));
}

// A replica stays within its own half: axes that nobody cuts are not gathered.
TEST(NeededRanks, StayWithTheRanksOwnReplica)
{
    const Strategy from = strategyOf({{"w", 0, layout({2, 4}, {{0}}), {}}});
    const Strategy to = strategyOf({{"w", 0, layout({8}, {{-1}}), {}}});
    EXPECT_THAT(needed(&from, &to, 1), ElementsAre(3, 2, 1, 0));
    EXPECT_THAT(needed(&from, &to, 6), ElementsAre(7, 6, 5, 4));
}

TEST(NeededRanks, OfGroupsGatherTheirMembersOnly)
{
    // Four replicas, the optimizer's shard over groups of two: ranks 0, 1 hold what 2, 3 hold.
    const Strategy from = strategyOf({{"w", 0, layout({4}, {{-1}}, 1, 2), {}}});
    const Strategy to = strategyOf({{"w", 0, layout({4}, {{-1}}), {}}});
    EXPECT_THAT(needed(&from, &to, 0), ElementsAre(1, 0));
    EXPECT_THAT(needed(&from, &to, 3), ElementsAre(3, 2));
}

TEST(NeededRanks, DropWhatLivesInAnotherStage)
{
    const Strategy from = strategyOf({{"a", 0, layout({2}, {{0}}), {}}, {"b", 1, layout({2}, {{-1}}), {}}, {"c", 1, layout({2}, {{-1}}), {}}});
    const Strategy to = strategyOf({{"a", 0, layout({2}, {{-1}}), {}}, {"b", 1, layout({2}, {{-1}}), {}}});
    EXPECT_THAT(needed(&from, &to, 0), ElementsAre(3, 2, 1, 0)); // c is in no target: its stage stays
    EXPECT_THAT(needed(&from, &to, 2), ElementsAre(2));
    const Strategy other = strategyOf({{"z", 0, layout({2}, {{-1}}), {}}});
    EXPECT_THAT(needed(&from, &other, 0), IsEmpty()); // nothing in common
}

TEST(NeededRanks, AreRefusedWhereMindSporeHasNone)
{
    const Strategy six = strategyOf({{"w", 0, layout({6}, {{0}}), {}}});
    const Strategy four = strategyOf({{"w", 0, layout({4}, {{0}}), {}}});
    EXPECT_THAT(NeededRanks::make(&six, &four).error().text(), HasSubstr("6 devices, one of the target 4"));
    const Strategy flat = strategyOf({{"w", 0, layout({4}, {{0}, {-1}}), {}}});
    EXPECT_THAT(NeededRanks::make(&four, &flat).error().text(), HasSubstr("parameter w: the source's layout is of 1 dimension, the target's of 2"));
    EXPECT_THAT(NeededRanks::make(&six, &six)->of(6).error().text(), HasSubstr("rank 6 is asked for, and the target has ranks 0 to 5"));
}

// Without a cut there is nothing but the optimizer's shard, and MindSpore takes the ranks for one axis: two matrices of 6 are alike.
TEST(NeededRanks, TakeUncutParametersForOneAxis)
{
    const Strategy from = strategyOf({{"w", 0, layout({3, 2}, {{-1}}, 1, -1), {}}});
    const Strategy to = strategyOf({{"w", 0, layout({2, 3}, {{-1}}, 1, -1), {}}});
    EXPECT_THAT(needed(&from, &to, 5), ElementsAre(5));
    const Strategy cut = strategyOf({{"w", 0, layout({3, 2, 2}, {{0}}, 2, -1), {}}});
    const Strategy cutToo = strategyOf({{"w", 0, layout({2, 3, 2}, {{0}}, 2, -1), {}}});
    EXPECT_THAT(needed(&cut, &cutToo, 5), testing::SizeIs(12)); // [3, 2] and [2, 3] have no common factors
}

// The list is MindSpore's, even where its model of the optimizer's shard is not what training stored (X4 of §7.4).
TEST(NeededRanks, FollowMindSporeWhereItsModelIsWrong)
{
    const Strategy from = strategyOf({{"w", 0, layout({4, 2, 2}, {{0}, {1}}, 4, 2), {}}});
    const Strategy to = strategyOf({{"w", 0, layout({2, 2, 4}, {{1}, {0}}, 8, -1), {}}});
    EXPECT_THAT(needed(&from, &to, 0), ElementsAre(7, 6, 5, 4, 3, 2, 1, 0));
    EXPECT_THAT(needed(&from, &to, 15), ElementsAre(15, 14, 13, 12, 11, 10, 9, 8));
}

// A parameter of several stages: the source's lowest counts; the target's stages behind the first are treated alike, the last in the file counts.
TEST(NeededRanks, OfSharedParametersGoByOneLayout)
{
    const Strategy from = strategyOf({{"w", 1, layout({4}, {{-1}}), {}}, {"w", 0, layout({4}, {{0}}), {}}});
    const Strategy to = strategyOf({{"w", 0, layout({4}, {{0}}), {}}, {"w", 2, layout({4}, {{-1}}), {}}, {"w", 1, layout({4}, {{0}}), {}}});
    EXPECT_THAT(needed(&from, &to, 1), ElementsAre(5, 1));
    EXPECT_THAT(needed(&from, &to, 5), ElementsAre(5, 1));
    EXPECT_THAT(needed(&from, &to, 9), ElementsAre(5, 1)); // its own layout would need all
}

// A stage of one device: MindSpore takes the target's rank as it is, which picks the replica.
TEST(NeededRanks, OfStagesOfOneDeviceGoByTheGlobalRank)
{
    const Strategy from = strategyOf({{"a", 0, layout({2, 2}, {{1}}), {}}, {"b", 0, layout({2, 2}, {{1}}), {}}});
    const Strategy to = strategyOf({{"a", 0, layout({1}, {{-1}}), {}}, {"b", 1, layout({1}, {{-1}}), {}}});
    EXPECT_THAT(needed(&from, &to, 0), ElementsAre(2, 0));
    EXPECT_THAT(needed(&from, &to, 1), ElementsAre(3, 1));
}

// An optimizer shard over the first axis alone, of a tensor whose map names the others in another order than theirs: MindSpore models it wrongly (§5.9), and
// its list of ranks with it.
bool isModelledWrongly(const ParameterLayout& one)
{
    std::vector<std::uint32_t> named;
    for (const auto& axes : one.tensorMap)
        named.insert(named.end(), axes.begin(), axes.end());
    return optimizerShards(one) > 1 && !std::is_sorted(named.rbegin(), named.rend());
}

// Whatever the layouts: the slices of the ranks that are needed hold what the target's rank holds.
TEST(NeededRanks, HoldWhatTheTargetWants)
{
    std::mt19937 random(99);
    for (int round = 0; round < 1500; ++round) {
        const std::uint64_t large = std::vector<std::uint64_t>{2, 4, 6, 8, 12, 16}[random() % 6];
        std::vector<std::uint64_t> divisors;
        for (std::uint64_t d = 1; d <= large; ++d)
            if (large % d == 0)
                divisors.push_back(d);
        std::uint64_t counts[2] = {large, divisors[random() % divisors.size()]};
        if (random() % 2 == 0)
            std::swap(counts[0], counts[1]);
        const std::size_t dimensions = 1 + random() % 3;
        const ParameterLayout from = test::randomLayout(random, counts[0], dimensions, true);
        const ParameterLayout to = test::randomLayout(random, counts[1], dimensions, true);
        if (isModelledWrongly(from) || isModelledWrongly(to))
            continue;
        const Shape full(dimensions, large * large * large * large);
        const Strategy source = strategyOf({{"w", 0, from, {}}});
        const Strategy target = strategyOf({{"w", 0, to, {}}});
        const auto ranks = NeededRanks::make(&source, &target);
        for (std::uint64_t rank = 0; rank < counts[1]; ++rank) {
            const auto wanted = boxOf(to, full, rank);
            ASSERT_TRUE(wanted) << wanted.error().text();
            std::map<std::uint64_t, std::uint64_t> held; // slice → cells of the wanted box
            const auto list = ranks->of(rank);
            for (const std::uint64_t one : *list)
                held[sliceOf(from, one)] = intersect(*boxOf(from, full, one), *wanted).volume();
            std::uint64_t cells = 0;
            for (const auto& [slice, volume] : held)
                cells += volume;
            ASSERT_EQ(cells, wanted->volume()) << layoutText(from) << " to " << layoutText(to) << ", rank " << rank;
        }
    }
}

// 10,000 parameters of 40 layouts over 64 ranks: found once a pair of layouts.
TEST(NeededRanks, OfALargeModelAreFoundOncePerPairOfLayouts)
{
    std::mt19937 random(3);
    std::vector<ParameterLayout> cuts[2];
    for (int i = 0; i < 20; ++i)
        for (auto& side : cuts)
            side.push_back(test::randomLayout(random, 64, 2, true));
    std::vector<Parameter> parameters[2];
    for (std::size_t i = 0; i < 10'000; ++i)
        for (int side = 0; side < 2; ++side)
            parameters[side].push_back({"layers." + std::to_string(i) + ".weight", 0, cuts[side][(i * (side == 0 ? 7 : 3)) % 20], {}});
    const Strategy source = strategyOf(std::move(parameters[0]));
    const Strategy target = strategyOf(std::move(parameters[1]));
    const auto ranks = NeededRanks::make(&source, &target);
    ASSERT_TRUE(ranks);
    for (std::uint64_t rank = 0; rank < 64; ++rank)
        EXPECT_FALSE(ranks->of(rank)->empty());
}

} // namespace
} // namespace shardlens::mindspore
