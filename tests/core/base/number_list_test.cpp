#include "core/base/number_list.h"

#include "core/base/shell_text.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace shardlens {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

template <typename T>
std::string problemOf(const Result<std::vector<T>>& list)
{
    return list ? "none" : list.error().text();
}

TEST(NumberList, ReadsNumbersAndHowOftenTheyStand)
{
    EXPECT_THAT(*wholeNumbersOf("1, 2*3 ,4", "weight"), ElementsAre(1, 2, 2, 2, 4));
    EXPECT_THAT(*wholeNumbersOf("9223372036854775807", "weight"), ElementsAre(9223372036854775807U));
    EXPECT_THAT(*wordsOf("Embed,Block * 2, <lambda>", "name"), ElementsAre("Embed", "Block", "Block", "<lambda>"));
    EXPECT_EQ(wordsOf("a*100000", "name")->size(), 100'000u);
}

TEST(NumberList, WritesWhatItReads)
{
    for (const char* text : {"1", "1,2*3,1", "Embed,Block*12,Embed"})
        EXPECT_EQ(listText(*wordsOf(text, "name")), text);
    EXPECT_EQ(listText({}), "");
}

TEST(NumberList, RefusesWithThePlace)
{
    EXPECT_EQ(problemOf(wordsOf("", "name")), "name 1 is empty");
    EXPECT_EQ(problemOf(wordsOf("a,", "name")), "name 2 is empty");
    EXPECT_EQ(problemOf(wordsOf("*3", "name")), "name 1 is empty");
    EXPECT_EQ(problemOf(wordsOf("a*0", "name")), "name 1: 'a*0' does not say how many, as 'a*3' does");
    EXPECT_EQ(problemOf(wordsOf("b,a*x", "name")), "name 2: 'a*x' does not say how many, as 'a*3' does");
    EXPECT_EQ(problemOf(wordsOf("a*99999999999999999999", "name")),
              "name 1: 'a*99999999999999999999' does not say how many, as 'a*3' does");
    EXPECT_THAT(problemOf(wordsOf("a,b*100000", "name")), HasSubstr("more than 100,000"));
    EXPECT_EQ(wordsOf("a,b*18446744073709551615", "name").error().code(), ErrorCode::LimitExceeded);
    for (const char* bad : {"-1", "+1", "1.0", "1e3", "nan", "0x1", "9223372036854775808", "1 2"})
        EXPECT_THAT(problemOf(wholeNumbersOf(bad, "weight")), HasSubstr(std::string("weight 1 is '") + bad + "'")) << bad;
}

TEST(ShellText, QuotesWhatAShellWouldRead)
{
    EXPECT_EQ(shellQuoted("/data/run-1_a.pt"), "/data/run-1_a.pt");
    EXPECT_EQ(shellQuoted("it's $HOME"), "'it'\\''s $HOME'");
    EXPECT_EQ(shellQuoted(""), "''");
    EXPECT_EQ(pathArgument("-x"), "./-x");
}

} // namespace
} // namespace shardlens
