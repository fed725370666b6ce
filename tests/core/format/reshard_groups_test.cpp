#include "core/format/deepspeed/reshard_groups.h"

#include <gmock/gmock.h>

// The arithmetic of formats/deepspeed.md §6 and §7 on its worked examples.
namespace shardlens::test {
namespace {

using ::testing::ElementsAre;
using namespace deepspeed;

std::vector<TrainedParameter> parameters(std::initializer_list<std::uint64_t> counts)
{
    std::vector<TrainedParameter> out;
    for (const std::uint64_t count : counts)
        out.push_back({"p" + std::to_string(out.size()), {count}, count, nullptr});
    return out;
}

std::vector<std::uint64_t> usedOf(const FlatCut& cut)
{
    std::vector<std::uint64_t> out;
    for (std::uint32_t rank = 0; rank < cut.world; ++rank)
        out.push_back(cut.used(rank));
    return out;
}

TEST(FlatCut, IsTheWorkedExampleOfThreeRanks) // §6.7
{
    const FlatCut cut = cutFlat(parameters({15, 12, 4, 12, 3}), 3, 1);
    EXPECT_THAT(cut.begins, ElementsAre(0, 15, 27, 31, 43));
    EXPECT_EQ(cut.total, 46u);
    EXPECT_EQ(cut.partition, 16u);
    EXPECT_THAT(usedOf(cut), ElementsAre(16, 16, 14));
}

TEST(FlatCut, LeavesWholeRanksToPaddingWhereThereIsLittle) // §6.9
{
    const FlatCut cut = cutFlat(parameters({3}), 4, 1);
    EXPECT_EQ(cut.partition, 2u);
    EXPECT_THAT(usedOf(cut), ElementsAre(2, 1, 0, 0));
}

TEST(FlatCut, FillsUpBetweenParametersWhereTheRunAligns) // §6.1: bf16, paddings 2, 2, 6, 0
{
    const FlatCut cut = cutFlat(parameters({30, 78, 66, 66}), 2, 8);
    EXPECT_THAT(cut.begins, ElementsAre(0, 32, 112, 184));
    EXPECT_THAT(cut.paddings, ElementsAre(2, 2, 6, 0));
    EXPECT_EQ(cut.total, 250u);
}

TEST(FlatCut, TakesAnEmptyGroup)
{
    const FlatCut cut = cutFlat({}, 3, 1);
    EXPECT_EQ(cut.partition, 0u);
    EXPECT_THAT(usedOf(cut), ElementsAre(0, 0, 0));
}

TEST(RoundRobin, IsTheWorkedExample) // §6.10
{
    EXPECT_THAT(roundRobinOrder(5, 2), ElementsAre(0, 2, 4, 1, 3));
    EXPECT_THAT(roundRobinOrder(2, 4), ElementsAre(0, 1));
}

TEST(SubGroups, AreTheWorkedExample) // §7.7: W = 2, sub_group_size 10
{
    std::vector<TrainedGroup> groups(1);
    groups.front().parameters = parameters({15, 12, 4, 12, 3});
    const auto cut = cutIntoSubGroups(groups, 2, 10);
    ASSERT_EQ(cut.size(), 2u);
    EXPECT_EQ(cut[0].last, 2u);
    EXPECT_EQ(cut[0].length, 14u);
    EXPECT_EQ(cut[1].first, 2u);
    EXPECT_EQ(cut[1].last, 5u);
    EXPECT_EQ(cut[1].length, 10u);
    EXPECT_EQ(cutIntoSubGroups(groups, 2, 24).size(), 1u); // all of it fits
}

} // namespace
} // namespace shardlens::test
