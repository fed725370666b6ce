// Vectors of formats/mindspore.md §7.3 to §7.5, and random layouts against the definitions of §4 written out.
#include "core/layout/strategy_boxes.h"

#include <algorithm>
#include <random>

#include "tests/core/layout/strategy_bytes.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>
#include <numeric>
#include <set>

namespace shardlens::mindspore {
namespace {

using test::layout;
using test::strategyOf;
using testing::ElementsAre;
using testing::HasSubstr;

std::string boxText(const Box& box)
{
    std::string out;
    for (std::size_t d = 0; d < box.offset.size(); ++d)
        out += "[" + std::to_string(box.offset[d]) + "," + std::to_string(box.offset[d] + box.extent[d]) + ")";
    return out;
}

// Boxes of all ranks in a row.
std::string boxesText(const ParameterLayout& one, const Shape& full)
{
    std::string out;
    for (std::uint64_t rank = 0; rank < deviceCount(one); ++rank) {
        const auto box = boxOf(one, full, rank);
        out += (out.empty() ? "" : " ") + (box ? boxText(*box) : box.error().text());
    }
    return out;
}

TEST(StrategyBoxes, AreThoseOfTheReference)
{
    EXPECT_EQ(boxesText(layout({2, 2}, {{0}, {-1}}), {8, 4}), "[0,4)[0,4) [4,8)[0,4) [0,4)[0,4) [4,8)[0,4)");
    EXPECT_EQ(boxesText(layout({2, 2}, {{-1}, {0}}), {4, 8}), "[0,4)[0,4) [0,4)[4,8) [0,4)[0,4) [0,4)[4,8)");
    EXPECT_EQ(boxesText(layout({2, 2}, {{0}, {-1}}, 2, -1), {16, 4}), "[0,4)[0,4) [8,12)[0,4) [4,8)[0,4) [12,16)[0,4)");
    EXPECT_EQ(boxesText(layout({4}, {{-1}, {0}}), {4, 8}), "[0,4)[0,2) [0,4)[2,4) [0,4)[4,6) [0,4)[6,8)");
    EXPECT_EQ(boxesText(layout({4, 2}, {{-1}, {0}}, 2, -1), {8, 4}),
              "[0,2)[0,2) [0,2)[2,4) [2,4)[0,2) [2,4)[2,4) [4,6)[0,2) [4,6)[2,4) [6,8)[0,2) [6,8)[2,4)");
    EXPECT_EQ(boxesText(layout({2, 2, 2}, {{2}}, 1, 2), {8}), "[0,2) [2,4) [0,2) [2,4) [4,6) [6,8) [4,6) [6,8)");
    EXPECT_EQ(boxesText(layout({2, 2, 2}, {{2, 0}}), {8}), "[0,2) [2,4) [0,2) [2,4) [4,6) [6,8) [4,6) [6,8)");
    EXPECT_EQ(boxesText(layout({2, 2, 2}, {{0}, {1}}, 4, -1), {8, 4}),
              "[0,2)[0,2) [4,6)[0,2) [0,2)[2,4) [4,6)[2,4) [2,4)[0,2) [6,8)[0,2) [2,4)[2,4) [6,8)[2,4)");
    EXPECT_EQ(boxesText(layout({2, 2}, {{1}}, 1, -1), {8}), "[0,2) [2,4) [4,6) [6,8)");
    EXPECT_EQ(boxesText(layout({2, 2, 2}, {{0}}, 2, 2), {8}), "[0,2) [4,6) [2,4) [6,8) [0,2) [4,6) [2,4) [6,8)");
}

TEST(StrategyBoxes, KnowWhoHoldsTheSame)
{
    const ParameterLayout plain = layout({2, 2}, {{0}, {-1}});
    EXPECT_THAT(ranksWithSameSlice(plain, 2), ElementsAre(0, 2));
    EXPECT_THAT(ranksWithSameSlice(plain, 1), ElementsAre(1, 3));
    const ParameterLayout sharded = layout({2, 2}, {{0}, {-1}}, 2, -1);
    for (const std::uint64_t rank : {0u, 1u, 2u, 3u})
        EXPECT_THAT(ranksWithSameSlice(sharded, rank), ElementsAre(rank));
    // Groups of 2 among 4: members of the same place in their groups.
    const ParameterLayout groups = layout({2, 2, 2}, {{0}}, 2, 2);
    EXPECT_THAT(ranksWithSameSlice(groups, 4), ElementsAre(0, 4));
    EXPECT_THAT(ranksWithSameSlice(groups, 3), ElementsAre(3, 7));
    EXPECT_THAT(firstRanks(groups), ElementsAre(0, 2, 1, 3));
}

TEST(StrategyBoxes, GiveTheWholeShapeBack)
{
    EXPECT_THAT(*fullShapeOf(layout({2, 2}, {{0}, {-1}}, 2, -1), Shape{4, 4}), ElementsAre(16, 4));
    EXPECT_THAT(*fullShapeOf(layout({2, 2, 2}, {{2, 0}, {1}}), Shape{3, 5}), ElementsAre(12, 10));
    EXPECT_THAT(*fullShapeOf(layout({4}, {}), Shape{}), ElementsAre());
    EXPECT_THAT(fullShapeOf(layout({4}, {{0}}), Shape{std::uint64_t{1} << 63}).error().text(), HasSubstr("overflow"));
    EXPECT_THAT(fullShapeOf(layout({4}, {{0}}), Shape{1, 2}).error().text(), HasSubstr("its layout is of 1 dimension, and the tensor has 2"));
}

// Rows of 3, 5, 0 and 4 words over four ranks, and beside each other where the second dimension is cut too.
TEST(StrategyBoxes, HonourUnevenRows)
{
    ParameterLayout rows = layout({4}, {{0}, {-1}});
    rows.paramSplitShape = {3, 5, 0, 4};
    EXPECT_EQ(boxesText(rows, {12, 2}), "[0,3)[0,2) [3,8)[0,2) [8,8)[0,2) [8,12)[0,2)");
    EXPECT_THAT(*fullShapeOf(rows, Shape{5, 2}), ElementsAre(12, 2));
    EXPECT_THAT(fullShapeOf(rows, Shape{6, 2}).error().text(), HasSubstr("6 rows, which none of its row counts is"));
    EXPECT_THAT(boxesText(rows, {13, 2}), HasSubstr("the row counts of its slices make 12, and dimension 0 is 13"));
    ParameterLayout beside = layout({2, 2}, {{1}, {0}});
    beside.paramSplitShape = {3, 3, 5, 5};
    EXPECT_EQ(boxesText(beside, {8, 4}), "[0,3)[0,2) [0,3)[2,4) [3,8)[0,2) [3,8)[2,4)");
    ParameterLayout sharded = layout({2, 2}, {{0}}, 2, -1);
    sharded.paramSplitShape = {2, 6};
    EXPECT_EQ(boxesText(sharded, {8}), "[0,1) [2,5) [1,2) [5,8)");
    sharded.paramSplitShape = {3, 5};
    EXPECT_THAT(boxesText(sharded, {8}), HasSubstr("the 3 rows of its slice 0 are not divisible by the optimizer shard over 2"));
}

TEST(StrategyBoxes, RefuseWhatDoesNotFit)
{
    EXPECT_EQ(boxOf(layout({4}, {{-1}, {0}}), Shape{8, 10}, 0).error().text(), "dimension 1 is 10 and not divisible by 4; it can be cut into 1, 2, 5, 10");
    EXPECT_THAT(boxOf(layout({2, 2}, {{0}}, 2, -1), Shape{6}, 0).error().text(), HasSubstr("dimension 0 is 6 and not divisible by 4 (2 by the device matrix, 2 by the optimizer shard)"));
    EXPECT_THAT(boxOf(layout({4}, {{0}}), Shape{8}, 4).error().text(), HasSubstr("rank 4 of 4 devices"));
    EXPECT_THAT(boxOf(layout({4}, {{0}}), Shape{8, 8}, 0).error().text(), HasSubstr("of 1 dimension, and the tensor has 2"));
    EXPECT_THAT(boxOf(layout({4}, {}, 1, -1), Shape{}, 0).error().text(), HasSubstr("no dimension to cut"));
    ParameterLayout flattened = layout({4}, {{-1}, {0}, {-1}});
    flattened.isFromJson = true;
    EXPECT_THAT(boxOf(flattened, Shape{8, 8}, 0).error().text(), HasSubstr("JSON loses; use the protobuf strategy"));
    ParameterLayout fields = layout({4}, {{0}, {-1}});
    fields.field = 3;
    const auto refused = boxOf(fields, Shape{12, 8}, 0);
    ASSERT_FALSE(refused);
    EXPECT_EQ(refused.error().code(), ErrorCode::Unsupported);
    EXPECT_THAT(refused.error().text(), HasSubstr("interleaved by fields (field 3)"));
}

// §4.1 to §4.3 as they stand: coordinates digit by digit, the repeat group by looking at every rank.
class PlainLayout {
public:
    explicit PlainLayout(const ParameterLayout& one) : m_layout(one) {}

    [[nodiscard]] Shape coordinates(std::uint64_t rank) const
    {
        Shape out(m_layout.deviceMatrix.size());
        for (std::size_t i = out.size(); i-- > 0; rank /= m_layout.deviceMatrix[i])
            out[i] = rank % m_layout.deviceMatrix[i];
        return out;
    }
    [[nodiscard]] std::vector<std::uint64_t> repeatGroup(std::uint64_t rank) const
    {
        std::vector<std::uint64_t> out;
        for (std::uint64_t other = 0; other < deviceCount(m_layout); ++other) {
            bool isSame = true;
            for (const auto& axes : m_layout.tensorMap)
                for (const std::uint32_t axis : axes) {
                    const std::size_t i = m_layout.deviceMatrix.size() - 1 - axis;
                    isSame = isSame && coordinates(rank)[i] == coordinates(other)[i];
                }
            if (isSame)
                out.push_back(other);
        }
        return out;
    }
    [[nodiscard]] Box box(const Shape& full, std::uint64_t rank) const
    {
        Box out;
        for (std::size_t d = 0; d < full.size(); ++d) {
            std::uint64_t index = 0;
            std::uint64_t count = 1;
            for (const std::uint32_t axis : m_layout.tensorMap[d]) {
                const std::size_t i = m_layout.deviceMatrix.size() - 1 - axis;
                index = index * m_layout.deviceMatrix[i] + coordinates(rank)[i];
                count *= m_layout.deviceMatrix[i];
            }
            out.extent.push_back(full[d] / count);
            out.offset.push_back(index * out.extent.back());
        }
        if (m_layout.optShardStep == 0 || m_layout.optShardSize == 0)
            return out;
        const auto group = repeatGroup(rank);
        const std::uint64_t shards = m_layout.optShardSize == -1 ? group.size() : static_cast<std::uint64_t>(m_layout.optShardSize);
        const auto position = static_cast<std::uint64_t>(std::find(group.begin(), group.end(), rank) - group.begin());
        out.extent[0] /= shards;
        out.offset[0] += position % shards * out.extent[0];
        return out;
    }

private:
    const ParameterLayout& m_layout;
};

TEST(StrategyBoxes, TileAnyTensorAsTheDefinitionsSay)
{
    std::mt19937 random(20260);
    for (int round = 0; round < 600; ++round) {
        const std::uint64_t devices = std::vector<std::uint64_t>{1, 2, 4, 6, 8, 12, 16, 24}[random() % 8];
        const std::size_t dimensions = random() % 4;
        const ParameterLayout one = test::randomLayout(random, devices, dimensions, true);
        Shape full;
        for (std::size_t d = 0; d < dimensions; ++d)
            full.push_back(cutsOf(one)[d] * (d == 0 ? optimizerShards(one) : 1) * (1 + random() % 3));
        const PlainLayout plain(one);
        std::map<Box, std::vector<std::uint64_t>> holders;
        for (std::uint64_t rank = 0; rank < devices; ++rank) {
            const auto box = boxOf(one, full, rank);
            ASSERT_TRUE(box) << box.error().text();
            ASSERT_EQ(boxText(*box), boxText(plain.box(full, rank))) << layoutText(one) << " rank " << rank;
            ASSERT_EQ(*fullShapeOf(one, box->extent), full);
            holders[*box].push_back(rank);
        }
        ASSERT_EQ(holders.size(), sliceCount(one));
        std::uint64_t volume = 0;
        std::set<std::uint64_t> numbers;
        for (const auto& [box, ranks] : holders) {
            volume += box.volume();
            ASSERT_EQ(ranks.size(), devices / sliceCount(one));
            for (const auto& [other, ignored] : holders)
                ASSERT_TRUE(other == box || intersect(other, box).volume() == 0);
            for (const std::uint64_t rank : ranks) {
                ASSERT_EQ(ranksWithSameSlice(one, rank), ranks);
                ASSERT_EQ(sliceOf(one, rank), sliceOf(one, ranks.front()));
            }
            ASSERT_TRUE(numbers.insert(sliceOf(one, ranks.front())).second);
            ASSERT_EQ(firstRanks(one)[sliceOf(one, ranks.front())], ranks.front());
        }
        ASSERT_EQ(*numbers.rbegin(), sliceCount(one) - 1);
        ASSERT_EQ(volume, *elementCount(full));
    }
}

TEST(StrategyBoxes, AreSaidInWords)
{
    EXPECT_EQ(layoutText(layout({2, 2, 2}, {{0}, {1}}, 4, -1)), "dimension 0 over 2, dimension 1 over 2, optimizer shard over 2");
    EXPECT_EQ(layoutText(layout({2, 2}, {{-1}})), "not cut");
}

} // namespace
} // namespace shardlens::mindspore
