#include "core/base/text.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <limits>
#include <random>
#include <vector>

namespace shardlens {
namespace {

constexpr std::uint64_t kLargest = std::numeric_limits<std::uint64_t>::max();

TEST(Text, SizesHaveThreeDigits)
{
    EXPECT_EQ(sizeText(0), "0 B");
    EXPECT_EQ(sizeText(1023), "1023 B");
    EXPECT_EQ(sizeText(1024), "1.00 KiB");
    EXPECT_EQ(sizeText(631'242'752), "602 MiB");
    EXPECT_EQ(sizeText(94'337'818'624), "87.9 GiB");
    EXPECT_EQ(sizeText(1024 * 1024 - 1), "1.00 MiB");
    EXPECT_EQ(sizeText(kLargest), "16.0 EiB");
    EXPECT_EQ(exactSizeText(631'242'752), "602 MiB (631,242,752 B)");
    EXPECT_EQ(exactSizeText(512), "512 B");
}

TEST(Text, SizesReadBackWithinHalfADigit)
{
    std::mt19937_64 random(1);
    for (int i = 0; i < 20'000; ++i) {
        const std::uint64_t bytes = random() >> (14 + random() % 50); // below 1 PiB, the largest unit that is read
        const std::string text = sizeText(bytes);
        const std::uint64_t back = text == "0 B" ? 0 : parseSize(text);
        EXPECT_NEAR(static_cast<double>(back), static_cast<double>(bytes), static_cast<double>(bytes) * 0.00501 + 1) << text;
    }
}

TEST(Text, GroupsDigits)
{
    EXPECT_EQ(groupedText(0), "0");
    EXPECT_EQ(groupedText(999), "999");
    EXPECT_EQ(groupedText(1000), "1,000");
    EXPECT_EQ(groupedText(94'337'818'624), "94,337,818,624");
    EXPECT_EQ(groupedText(kLargest), "18,446,744,073,709,551,615");
}

TEST(Text, CountsShapesRatesDurations)
{
    EXPECT_EQ(countText(9'999), "9,999");
    EXPECT_EQ(countText(6'738'415'616), "6.74 B");
    EXPECT_EQ(countText(999'999), "1.00 M");
    EXPECT_EQ(shapeText(std::array<std::uint64_t, 2>{4096, 11008}), "[4096, 11008]");
    EXPECT_EQ(shapeText({}), "[]");
    EXPECT_EQ(rateText(2.31e9), "2.31 GB/s");
    EXPECT_EQ(rateText(999.6e6), "1.00 GB/s");
    EXPECT_EQ(rateText(-1), "0 B/s");
    EXPECT_EQ(durationText(38), "38 s");
    EXPECT_EQ(durationText(131), "2 min 11 s");
    EXPECT_EQ(durationText(3840), "1 h 4 min");
    EXPECT_EQ(durationText(59.7), "1 min 0 s");
    EXPECT_EQ(plural(1, "tensor", "tensors"), "1 tensor");
    EXPECT_EQ(plural(1234, "tensor", "tensors"), "1,234 tensors");
}

TEST(Text, PercentIsNeverZeroForSomethingNorAllForLess)
{
    EXPECT_EQ(percentText(0), "0 %");
    EXPECT_EQ(percentText(1), "100 %");
    EXPECT_EQ(percentText(0.571), "57.1 %");
    EXPECT_EQ(percentText(0.00004), "0.004 %");
    EXPECT_EQ(percentText(0.99996), "99.996 %");
    for (double part = 0.5; part > 1e-30; part /= 3) {
        EXPECT_NE(percentText(part).substr(0, 4), "0.0 ") << part;
        EXPECT_NE(percentText(part), "0 %") << part;
        EXPECT_EQ(percentText(1 - part) == "100 %", 1 - part == 1) << part;
    }
}

TEST(Text, PrintableEscapesWhatWouldDeceive)
{
    EXPECT_EQ(printable("naïve.weight"), "naïve.weight");
    EXPECT_EQ(printable("a\nb\tc\x1b[31m\x7f"), "a\\nb\\tc\\x1b[31m\\x7f");
    EXPECT_EQ(printable("gpj\xE2\x80\xAE"
                        "exe"),
              "gpj\\u202Eexe");
    EXPECT_EQ(printable("bad\xFF\xC0\xAF"), "bad\\xff\\xc0\\xaf");
    EXPECT_EQ(printable("\xED\xA0\x80"), "\\xed\\xa0\\x80"); // a surrogate
}

TEST(Text, Utf8)
{
    EXPECT_TRUE(isUtf8("層.重み"));
    EXPECT_TRUE(isUtf8("\xF4\x8F\xBF\xBF"));
    EXPECT_FALSE(isUtf8("\xF4\x90\x80\x80")); // beyond U+10FFFF
    EXPECT_FALSE(isUtf8("\xE0\x80\xAF"));     // overlong
    EXPECT_FALSE(isUtf8("\xED\xA0\x80"));     // a surrogate
    EXPECT_FALSE(isUtf8("\xC3"));             // cut
}

TEST(NaturalLess, OrdersRunsOfDigitsByNumber)
{
    std::vector<std::string> names{"rank_10", "rank_2", "rank_1", "rank", "rank_02", "rank_2_mp_3", "a", "rank_18446744073709551616",
                                   "rank_2b"};
    std::sort(names.begin(), names.end(), naturalLess);
    EXPECT_EQ(names, (std::vector<std::string>{"a", "rank", "rank_1", "rank_02", "rank_2", "rank_2_mp_3", "rank_2b", "rank_10",
                                               "rank_18446744073709551616"}));
}

TEST(NaturalLess, IsAStrictWeakOrderThatTellsAllTextsApart)
{
    std::mt19937 random(7);
    std::vector<std::string> names;
    for (int i = 0; i < 60; ++i) {
        std::string name;
        for (std::size_t length = random() % 5; length-- > 0;)
            name += "0019a_\xC3"[random() % 7];
        names.push_back(name);
    }
    for (const std::string& a : names)
        for (const std::string& b : names) {
            EXPECT_EQ(naturalLess(a, b) || naturalLess(b, a), a != b) << a << " and " << b;
            EXPECT_FALSE(naturalLess(a, b) && naturalLess(b, a)) << a << " and " << b;
            for (const std::string& c : names)
                if (naturalLess(a, b) && naturalLess(b, c)) {
                    EXPECT_TRUE(naturalLess(a, c)) << a << ", " << b << ", " << c;
                }
        }
}

struct Size {
    const char* name;
    const char* text;
    std::uint64_t bytes;
};

class ParseSize : public testing::TestWithParam<Size> {};

TEST_P(ParseSize, Reads)
{
    EXPECT_EQ(parseSize(GetParam().text), GetParam().bytes);
}

INSTANTIATE_TEST_SUITE_P(Texts, ParseSize,
                         testing::Values(Size{"DecimalUnits", "5GB", 5'000'000'000}, Size{"BinaryUnits", "512MiB", 536'870'912},
                                         Size{"Fraction", "1.5 GB", 1'500'000'000}, Size{"Bytes", "700B", 700},
                                         Size{"AnyCase", "2kib", 2048}, Size{"Tera", "3TiB", 3'298'534'883'328}, Size{"NoUnit", "700", 0},
                                         Size{"NoNumber", "GB", 0}, Size{"Negative", "-5GB", 0}, Size{"UnknownUnit", "5XB", 0},
                                         Size{"Empty", "", 0}, Size{"NotANumber", "nanGB", 0}, Size{"TooMuch", "1e30TB", 0},
                                         Size{"Infinite", "infGB", 0}, Size{"TextAfter", "5GB!", 0}),
                         [](const auto& row) { return row.param.name; });

} // namespace
} // namespace shardlens
