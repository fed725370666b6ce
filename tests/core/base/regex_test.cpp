#include "core/base/regex.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <chrono>
#include <thread>

namespace shardlens {
namespace {

Regex compiled(std::string_view pattern, bool ignoreCase = false)
{
    auto regex = Regex::compile(pattern, ignoreCase);
    EXPECT_TRUE(regex) << pattern;
    return regex.take();
}

TEST(Regex, SearchesUnanchored)
{
    EXPECT_TRUE(compiled("layers\\.7\\.").search("model.layers.7.mlp"));
    EXPECT_FALSE(compiled("layers\\.7\\.").search("model.layers.77.mlp"));
    EXPECT_FALSE(compiled("^layers").search("model.layers"));
    EXPECT_TRUE(compiled("(?i)NORM|BIAS$").search("x.bias"));
    EXPECT_TRUE(compiled("norm", true).search("LayerNorm"));
    EXPECT_TRUE(compiled("").search(""));
}

TEST(Regex, RefusesWhatDoesNotCompileWithThePosition)
{
    const auto broken = Regex::compile("layers\\.(7");
    ASSERT_FALSE(broken);
    EXPECT_THAT(broken.error().text(), testing::ContainsRegex("[0-9]+"));
    EXPECT_EQ(broken.error().code(), ErrorCode::Refused);
}

TEST(Regex, BoundsPatternsThatBacktrackForever)
{
    const Regex regex = compiled("^(a+)+$");
    const auto started = std::chrono::steady_clock::now();
    EXPECT_FALSE(regex.search(std::string(5000, 'a') + "b"));
    EXPECT_LT(std::chrono::steady_clock::now() - started, std::chrono::seconds(20)); // unbounded: longer than the universe
}

TEST(Regex, CopiesServeSeveralThreads)
{
    const Regex regex = compiled("weight$");
    std::vector<std::thread> threads;
    std::array<int, 4> found{};
    for (int& count : found)
        threads.emplace_back([copy = regex, &count] {
            for (int i = 0; i < 1000; ++i)
                count += copy.search(i % 2 == 0 ? "a.weight" : "a.bias") ? 1 : 0;
        });
    for (std::thread& thread : threads)
        thread.join();
    EXPECT_THAT(found, testing::Each(500));
}

} // namespace
} // namespace shardlens
