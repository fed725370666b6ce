#include "core/encoding/recent_sources.h"

#include <gtest/gtest.h>

namespace shardlens::test {
namespace {

std::shared_ptr<const ByteSource> some()
{
    return std::make_shared<MemorySource>(std::vector<std::byte>(4));
}

StreamId number(std::size_t index)
{
    return idAt<StreamId>(index);
}

TEST(RecentSources, ClosesWhatWasAskedForLongestAgo)
{
    RecentSources sources(3);
    for (std::size_t i = 0; i < 3; ++i)
        sources.add(number(i), some(), 1);
    EXPECT_NE(sources.find(number(0)), nullptr);
    sources.add(number(3), some(), 1);
    EXPECT_EQ(sources.find(number(1)), nullptr);
    EXPECT_NE(sources.find(number(0)), nullptr);
    EXPECT_NE(sources.find(number(2)), nullptr);
    EXPECT_NE(sources.find(number(3)), nullptr);
}

TEST(RecentSources, CountsASourceOnce)
{
    RecentSources sources(2);
    const auto first = sources.add(number(0), some(), 1);
    for (int i = 0; i < 5; ++i)
        EXPECT_EQ(sources.add(number(0), some(), 1), first);
    sources.add(number(1), some(), 1);
    EXPECT_EQ(sources.find(number(0)), first);
    sources.add(number(2), some(), 1);
    EXPECT_EQ(sources.find(number(1)), nullptr);
    EXPECT_EQ(sources.find(number(0)), first);
}

TEST(RecentSources, MakesRoomByCost)
{
    RecentSources sources(100);
    sources.add(number(0), some(), 40);
    sources.add(number(1), some(), 40);
    sources.add(number(2), some(), 20);
    EXPECT_NE(sources.find(number(0)), nullptr); // exactly full
    sources.add(number(3), some(), 50);          // 1 and 2 are older than 0
    EXPECT_EQ(sources.find(number(1)), nullptr);
    EXPECT_EQ(sources.find(number(2)), nullptr);
    EXPECT_NE(sources.find(number(0)), nullptr);
    EXPECT_NE(sources.find(number(3)), nullptr);
}

TEST(RecentSources, KeepsTheNewestWhateverItCosts)
{
    RecentSources sources(100);
    sources.add(number(0), some(), 40);
    const auto large = sources.add(number(1), some(), ~std::uint64_t{0});
    EXPECT_EQ(sources.find(number(0)), nullptr);
    EXPECT_EQ(sources.find(number(1)), large);
    sources.add(number(2), some(), 1);
    EXPECT_EQ(sources.find(number(1)), nullptr);
    EXPECT_EQ(large->size(), 4u); // who reads from it keeps it
}

} // namespace
} // namespace shardlens::test
