#include "tests/core/encoding/encoding_fixture.h"

#include <gmock/gmock.h>

namespace shardlens::test {
namespace {

using namespace std::string_literals;
using pickle::Graph;

struct BadPickle {
    const char* name;
    std::string bytes;
    ErrorCode code;
    const char* says;
};

class PickleRejects : public ::testing::TestWithParam<BadPickle> {};

TEST_P(PickleRejects, SaysWhatAndWhere)
{
    const auto graph = Graph::parse(std::make_shared<const std::vector<std::byte>>(toBytes(GetParam().bytes)));
    ASSERT_FALSE(graph.ok()) << shown((*graph)->root());
    EXPECT_EQ(codeName(graph.error().code()), codeName(GetParam().code));
    EXPECT_THAT(graph.error().text(), ::testing::HasSubstr(GetParam().says));
}

constexpr ErrorCode kCorrupt = ErrorCode::Corrupt;

INSTANTIATE_TEST_SUITE_P(Pickle, PickleRejects, ::testing::Values(
    BadPickle{"Empty", "", kCorrupt, "it ends at 0 without STOP"},
    BadPickle{"WithoutStop", "\x80\x02N"s, kCorrupt, "it ends at 3 without STOP"},
    BadPickle{"UnknownOpcode", "N\xff."s, kCorrupt, "pickle opcode 0xff at 1: unknown opcode"},
    BadPickle{"NewerProtocol", "\x80\x06N."s, ErrorCode::Unsupported, "pickle protocol 6, and 5 is the newest known"},
    BadPickle{"OneGigabyteInFortyBytes", "\x80\x02X\0\0\0\x40"s + std::string(33, 'a'), kCorrupt, "argument: 1,073,741,824 B declared, 33 left"},
    BadPickle{"LengthOfAllOnes", "\x8e\xff\xff\xff\xff\xff\xff\xff\xff" "a."s, kCorrupt, "18,446,744,073,709,551,615 B declared, 2 left"},
    BadPickle{"FramePastTheEnd", "\x80\x04\x95\x03\0\0\0\0\0\0\0N."s, kCorrupt, "frame: 3 B declared, 2 left"},
    BadPickle{"NegativeLength", "T\xff\xff\xff\xff" "a."s, kCorrupt, "a negative length"},
    BadPickle{"NegativeLongLength", "\x8b\xff\xff\xff\xff" "a."s, kCorrupt, "a negative length"},
    BadPickle{"NothingToStopWith", "\x80\x02."s, kCorrupt, "1 value on the stack needed, 0 there"},
    BadPickle{"OnlyAMarkToStopWith", "N(."s, kCorrupt, "1 value on the stack needed, 0 there"},
    BadPickle{"PopOfNothing", "0N."s, kCorrupt, "pickle opcode 0x30 at 0"},
    BadPickle{"DupOfNothing", "2."s, kCorrupt, "1 value on the stack needed"},
    BadPickle{"Tuple3OfTwo", "NN\x87."s, kCorrupt, "3 values on the stack needed, 2 there"},
    BadPickle{"TupleAcrossAMark", "N(N\x86."s, kCorrupt, "2 values on the stack needed, 1 there"},
    BadPickle{"TupleWithoutAMark", "Nt."s, kCorrupt, "no mark on the stack"},
    BadPickle{"PopMarkWithoutAMark", "N1."s, kCorrupt, "no mark on the stack"},
    BadPickle{"AppendsWithoutATarget", "(K\1e."s, kCorrupt, "1 value on the stack needed"},
    BadPickle{"AppendToANumber", "K\1K\2a."s, kCorrupt, "items for what is no list"},
    BadPickle{"SetItemOnAList", "]K\1K\2s."s, kCorrupt, "keys for what is no dictionary"},
    BadPickle{"DictOfThree", "(K\1K\2K\3d."s, kCorrupt, "3 values as keys and values"},
    BadPickle{"SetItemsOfOne", "}(K\1u."s, kCorrupt, "1 values as keys and values"},
    BadPickle{"MemoMiss", "h\5."s, kCorrupt, "memo slot 5 was never set"},
    BadPickle{"MemoMissBetween", "Nq\7h\6."s, kCorrupt, "memo slot 6 was never set"},
    BadPickle{"MemoMissFarAway", "j\xff\xff\xff\xff."s, kCorrupt, "memo slot 4294967295 was never set"},
    BadPickle{"NegativeMemoSlot", "Np-1\n."s, kCorrupt, "'-1' is no number"},
    BadPickle{"PutOfNothing", "q\0N."s, kCorrupt, "1 value on the stack needed"},
    BadPickle{"MemoizeOfNothing", "\x94N."s, kCorrupt, "1 value on the stack needed"},
    BadPickle{"ReduceWithoutATuple", "cm\nf\nK\1R."s, kCorrupt, "arguments that are no tuple"},
    BadPickle{"ReduceOfOne", ")R."s, kCorrupt, "2 values on the stack needed, 1 there"},
    BadPickle{"NewObjExOfTwo", "cm\nC\n)\x92."s, kCorrupt, "3 values on the stack needed"},
    BadPickle{"ObjWithoutAClass", "(o."s, kCorrupt, "OBJ without a class"},
    BadPickle{"BuildOnANumber", "K\1}U\1aK\1sb."s, kCorrupt, "BUILD on what is no object"},
    BadPickle{"StackGlobalOfNumbers", "K\1K\2\x93."s, kCorrupt, "STACK_GLOBAL without two texts"},
    BadPickle{"ExtensionZero", "\x82\0."s, kCorrupt, "an extension code that is not positive"},
    BadPickle{"ExtensionNegative", "\x84\xff\xff\xff\xff."s, kCorrupt, "an extension code that is not positive"},
    BadPickle{"EmptyLine", "I\n."s, kCorrupt, "an empty line as argument"},
    BadPickle{"EmptyModule", "c\nsystem\n."s, kCorrupt, "an empty line as argument"},
    BadPickle{"LineWithoutEnd", "cos\nsystem."s, kCorrupt, "a line that does not end"},
    BadPickle{"GlobalThatIsNoText", "c\xff\nf\n."s, kCorrupt, "the name of a global is no UTF-8"},
    BadPickle{"IntOfLetters", "Iabc\n."s, kCorrupt, "'abc' is no number"},
    BadPickle{"IntWithTail", "I12x\n."s, kCorrupt, "'12x' is no number"},
    BadPickle{"LongInCOctal", "L010\n."s, kCorrupt, "'010' is no number"},
    BadPickle{"LongOfTwoTails", "LLL\n."s, kCorrupt, "is no number"},
    BadPickle{"LongOfTooManyDigits", "L"s + std::string(4301, '7') + "L\n.", kCorrupt, "is no number"},
    BadPickle{"FloatOfBlanks", "F 1.5\n."s, kCorrupt, "' 1.5' is no number"},
    BadPickle{"FloatInHexadecimal", "F0x1p3\n."s, kCorrupt, "is no number"},
    BadPickle{"FloatBeyondDouble", "F1e400\n."s, kCorrupt, "'1e400' is no number"},
    BadPickle{"FloatOfTwoSigns", "F+-1\n."s, kCorrupt, "'+-1' is no number"},
    BadPickle{"StringWithoutQuotes", "Sabc\n."s, kCorrupt, "a string without its quotes"},
    BadPickle{"StringOfTwoQuotes", "S'abc\"\n."s, kCorrupt, "a string without its quotes"},
    BadPickle{"StringThatEndsInABackslash", "S'a\\'\n."s, kCorrupt, "a string that ends in a backslash"},
    BadPickle{"UnicodeOfThreeDigits", "V\\u12g4\n."s, kCorrupt, "\\u without 4 hexadecimal digits"},
    BadPickle{"UnicodeBeyondTheLast", "V\\U00110000\n."s, kCorrupt, "\\U without 8 hexadecimal digits of a character"}),
    [](const auto& row) { return row.param.name; });

TEST(PickleLimits, TakesNestingOfAMillionLevels)
{
    std::string deep = "\x80\x02N"s + std::string(1'000'000, '\x85') + ".";
    EXPECT_THAT(shownPickle(deep), ::testing::HasSubstr("((((("));
    const std::string lists = std::string(200'000, ']') + std::string(199'999, 'a') + ".";
    EXPECT_THAT(shownPickle(lists), ::testing::HasSubstr("[[[[["));
    const std::string marks = "N"s + std::string(1'000'000, '(') + std::string(1'000'000, '0') + ".";
    EXPECT_EQ(shownPickle(marks), "None");
}

TEST(PickleLimits, DoublesWithoutTheMemory)
{
    // U41 of the notes: thirty lists of the list before, twice; 2^30 leaves for whoever walks them, 31 lists here
    std::string bytes = "\x80\x02]q"s + '\0';
    for (char i = 0; i < 30; ++i)
        bytes += "0](h"s + i + "h" + i + "eq" + static_cast<char>(i + 1);
    const auto graph = Graph::parse(std::make_shared<const std::vector<std::byte>>(toBytes(bytes + ".")));
    ASSERT_TRUE(graph.ok()) << graph.error().text();
    EXPECT_LT((*graph)->nodeCount(), 40u);
    EXPECT_EQ((*graph)->root().at(0), (*graph)->root().at(1));
}

TEST(PickleLimits, PaysForFarMemoSlots)
{
    // every put lies 4,000 slots behind the last: 5 bytes of pickle must not take 16,000 bytes of memory
    std::string bytes = "N";
    for (std::uint32_t i = 1; i <= 200'000; ++i) {
        const std::uint32_t slot = i * 4'000;
        bytes += "r"s + static_cast<char>(slot & 0xFF) + static_cast<char>(slot >> 8 & 0xFF) + static_cast<char>(slot >> 16 & 0xFF) + static_cast<char>(slot >> 24);
    }
    EXPECT_THAT(shownPickle(bytes + "."), ::testing::AnyOf("None", ::testing::HasSubstr("LimitExceeded")));
}

TEST(PickleLimits, AStackOfNothingHasAnEnd)
{
    // 64 MiB of NONE, which a compressed file holds in 64 KiB: none of them takes a node
    EXPECT_THAT(shownPickle(std::string((1u << 26) + 1, 'N') + "."), ::testing::HasSubstr("LimitExceeded: pickle opcode 0x4e at 67108864: more than 67,108,864 values on the stack"));
}

TEST(PickleLimits, StopsWhenAsked)
{
    std::stop_source stop;
    stop.request_stop();
    const JobContext job(stop.get_token());
    const auto graph = Graph::parse(std::make_shared<const std::vector<std::byte>>(toBytes("N.")), 0, &job);
    ASSERT_FALSE(graph.ok());
    EXPECT_EQ(graph.error().code(), ErrorCode::Cancelled);
}

TEST(PickleLimits, CountsAMemoSlotOnce)
{
    // slot 5000 is far away at first and near once 4095 is used; MEMOIZE then takes number 2, as Python does
    const std::string bytes = "K\1p5000\n0K\2p4095\n0K\3p5000\n0K\4\x94" "0g2\n.";
    EXPECT_EQ(shownPickle(bytes), "4");
}

} // namespace
} // namespace shardlens::test
