#include "core/base/nearest.h"

#include <gmock/gmock.h>

namespace shardlens {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

TEST(EditDistance, CountsLettersUpToALimit)
{
    EXPECT_EQ(editDistance("", "", 3), 0u);
    EXPECT_EQ(editDistance("norm", "norm", 3), 0u);
    EXPECT_EQ(editDistance("norm", "nrom", 3), 2u);
    EXPECT_EQ(editDistance("kitten", "sitting", 5), 3u);
    EXPECT_EQ(editDistance("sitting", "kitten", 5), 3u);
    EXPECT_EQ(editDistance("kitten", "sitting", 2), 3u);
    EXPECT_EQ(editDistance("", "abc", 2), 3u);
    EXPECT_EQ(editDistance("abc", "", 5), 3u);
}

TEST(NearestNames, HoldWhatWasAskedOrLackItsBranch)
{
    const std::vector<std::string> names{"embed.weight", "layers.0.norm.weight", "norm.weight"};
    EXPECT_THAT(nearestNames("norm", names, 5), ElementsAre("layers.0.norm.weight", "norm.weight"));
    EXPECT_THAT(nearestNames("norm", names, 1), ElementsAre("layers.0.norm.weight"));
    EXPECT_THAT(nearestNames("model.embed.weight", names, 5), ElementsAre("embed.weight"));
    EXPECT_THAT(nearestNames("optim.state.w.exp_avg", {"w", "w/exp_avg"}, 5), ElementsAre("w/exp_avg"));
    EXPECT_THAT(nearestNames("modelembed.weights", names, 5), IsEmpty());
}

TEST(NearestNames, AreAFewLettersAwayNearestFirst)
{
    const std::vector<std::string> names{"layers.1.norm.weight", "layers.0.norm.weight", "head.bias"};
    EXPECT_THAT(nearestNames("layer.0.norm.weight", names, 5), ElementsAre("layers.0.norm.weight", "layers.1.norm.weight"));
    EXPECT_THAT(nearestNames("x", names, 5), IsEmpty());
}

} // namespace
} // namespace shardlens
