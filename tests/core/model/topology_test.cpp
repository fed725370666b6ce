#include "core/model/topology.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace shardlens {
namespace {

using testing::ElementsAre;

const Topology kRun{{{Axis::Pp, 2}, {Axis::Dp, 3}, {Axis::Tp, 4}}}; // slowest first

TEST(Topology, NumbersRanksWithTheLastAxisFastest)
{
    EXPECT_EQ(kRun.worldSize(), 24u);
    EXPECT_EQ(kRun.sizeOf(Axis::Dp), 3u);
    EXPECT_EQ(kRun.sizeOf(Axis::Ep), 1u);
    std::uint32_t expected = 0;
    for (std::uint32_t pp = 0; pp < 2; ++pp)
        for (std::uint32_t dp = 0; dp < 3; ++dp)
            for (std::uint32_t tp = 0; tp < 4; ++tp)
                EXPECT_EQ(kRun.rankOf(Holder{{{Axis::Dp, dp}, {Axis::Tp, tp}, {Axis::Pp, pp}}}), expected++);
}

TEST(Topology, AnAxisThatIsAnyLeavesTheRankOpen)
{
    const Holder anyData{{{Axis::Tp, 1}, {Axis::Pp, 1}}};
    EXPECT_EQ(kRun.rankOf(anyData), std::nullopt);
    EXPECT_THAT(kRun.ranksOf(anyData), ElementsAre(13, 17, 21));
    EXPECT_EQ(kRun.ranksOf(Holder{}).size(), 24u);
    EXPECT_THAT(kRun.ranksOf(Holder{{{Axis::Dp, 0}, {Axis::Tp, 2}, {Axis::Pp, 0}}}), ElementsAre(2));
}

TEST(Topology, AnAxisOfOneNeedsNoCoordinate)
{
    const Topology one{{{Axis::Dp, 1}, {Axis::Tp, 2}}};
    EXPECT_EQ(one.rankOf(Holder{{{Axis::Tp, 1}}}), 1u);
}

TEST(Topology, SpeaksInWords)
{
    EXPECT_EQ(kRun.text(), "pipeline parallel 2, data parallel 3, tensor parallel 4");
    EXPECT_EQ(kRun.textOf(Holder{{{Axis::Tp, 1}, {Axis::Pp, 0}}}), "pp 0, dp any, tp 1");
    EXPECT_EQ(Topology{}.text(), "");
    EXPECT_EQ(Topology{}.worldSize(), 1u);
}

} // namespace
} // namespace shardlens
