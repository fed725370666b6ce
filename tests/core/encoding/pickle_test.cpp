#include "tests/core/encoding/encoding_fixture.h"

#include "core/encoding/pickle/opcodes.h"

#include <gmock/gmock.h>

#include <set>

namespace shardlens::test {
namespace {

using namespace std::string_literals;
using pickle::Graph;
using pickle::OpcodeGroup;

struct OpcodeSample {
    const char* name;
    unsigned opcode; // the one this row is about
    std::string bytes;
    const char* shows;
};

std::shared_ptr<const Graph> graphOf(const std::string& bytes)
{
    auto graph = Graph::parse(std::make_shared<const std::vector<std::byte>>(toBytes(bytes)));
    return graph ? graph.take() : nullptr;
}

const std::vector<OpcodeSample> kOpcodes{
    {"Proto", 0x80, "\x80\x05N."s, "None"},
    {"Frame", 0x95, "\x80\x04\x95\x02\0\0\0\0\0\0\0N."s, "None"},
    {"Stop", '.', "N.cos\nsystem\n."s, "None"},
    {"Mark", '(', "(K\1(K\2tt."s, "(1, (2))"},
    {"Pop", '0', "K\1K\2" "0."s, "1"},
    {"PopDropsAMark", '0', "K\1(0."s, "1"},
    {"PopMark", '1', "K\1(K\2K\3" "1."s, "1"},
    {"Dup", '2', "K\7" "2\x86."s, "(7, 7)"},
    {"None", 'N', "N."s, "None"},
    {"NewTrue", 0x88, "\x88."s, "True"},
    {"NewFalse", 0x89, "\x89."s, "False"},
    {"Int", 'I', "I-4711\n."s, "-4711"},
    {"IntThatIsTrue", 'I', "I01\n."s, "True"},
    {"IntThatIsFalse", 'I', "I00\n."s, "False"},
    {"IntOfOneDigitIsNoBool", 'I', "I1\n."s, "1"},
    {"IntInHexadecimal", 'I', "I0x1F\n."s, "31"},
    {"IntInOctalAsCHasIt", 'I', "I010\n."s, "8"},
    {"IntUntilItsNul", 'I', "I1\0" "2\n."s, "1"},
    {"BinInt", 'J', "J\xfe\xff\xff\xff."s, "-2"},
    {"BinInt1", 'K', "K\xff."s, "255"},
    {"BinInt2", 'M', "M\x34\x12."s, "4660"},
    {"Long", 'L', "L9223372036854775807L\n."s, "9223372036854775807"},
    {"LongBeyond64Bits", 'L', "L9223372036854775808L\n."s, "a big number"},
    {"LongSmallestOf64Bits", 'L', "L-9223372036854775808\n."s, "-9223372036854775808"},
    {"Long1", 0x8A, "\x8a\x02\xff\x7f."s, "32767"},
    {"Long1OfNothingIsZero", 0x8A, "\x8a\0."s, "0"},
    {"Long1Negative", 0x8A, "\x8a\1\x80."s, "-128"},
    {"Long1OfNineBytesThatFits", 0x8A, "\x8a\x09\xff\xff\xff\xff\xff\xff\xff\x7f\0."s, "9223372036854775807"},
    {"Long1OfNineBytesThatDoesNotFit", 0x8A, "\x8a\x09\xff\xff\xff\xff\xff\xff\xff\xff\0."s, "a big number"},
    {"Long4", 0x8B, "\x8b\x03\0\0\0\1\2\3."s, "197121"},
    {"Float", 'F', "F-1.5e3\n."s, "-1500f"},
    {"FloatInfinity", 'F', "Finf\n."s, "inff"},
    {"BinFloat", 'G', "G\x3f\xf8\0\0\0\0\0\0."s, "1.5f"},
    {"String", 'S', "S'a\\x41\\102\\n\\'b'\n."s, "'aAB\\n'b'"},
    {"StringKeepsInnerQuotes", 'S', "S'a'b'\n."s, "'a'b'"},
    {"StringThatIsNoText", 'S', "S'\\xff\\x01'\n."s, "b:ff01"},
    {"BinString", 'T', "T\3\0\0\0abc."s, "'abc'"},
    {"ShortBinString", 'U', "U\2ab."s, "'ab'"},
    {"ShortBinStringThatIsNoText", 'U', "U\2\x80\x02."s, "b:8002"},
    {"Unicode", 'V', "V\\u00e9\\U0001F600\xe9z\n."s, "'\xc3\xa9\xf0\x9f\x98\x80\xc3\xa9z'"},
    {"BinUnicode", 'X', "X\2\0\0\0\xc3\xa9."s, "'\xc3\xa9'"},
    {"BinUnicodeThatIsNoText", 'X', "X\1\0\0\0\xff."s, "b:ff"},
    {"BinUnicodeOfALoneSurrogate", 'X', "X\3\0\0\0\xed\xa0\x80."s, "b:eda080"},
    {"UnicodeOfALoneSurrogate", 'V', "V\\ud800\n."s, "b:eda080"},
    {"ShortBinUnicode", 0x8C, "\x8c\1a."s, "'a'"},
    {"BinUnicode8", 0x8D, "\x8d\1\0\0\0\0\0\0\0a."s, "'a'"},
    {"BinBytes", 'B', "B\2\0\0\0\0\xff."s, "b:00ff"},
    {"ShortBinBytes", 'C', "C\1\x7f."s, "b:7f"},
    {"BinBytes8", 0x8E, "\x8e\2\0\0\0\0\0\0\0\1\2."s, "b:0102"},
    {"ByteArray8", 0x96, "\x80\5\x96\2\0\0\0\0\0\0\0\1\2."s, "bytearray:0102"},
    {"NextBuffer", 0x97, "\x80\5\x97."s, "buffer"},
    {"ReadOnlyBuffer", 0x98, "\x80\5\x97\x98."s, "buffer"},
    {"EmptyTuple", ')', ")."s, "()"},
    {"Tuple1", 0x85, "K\1\x85."s, "(1)"},
    {"Tuple2", 0x86, "K\1K\2\x86."s, "(1, 2)"},
    {"Tuple3", 0x87, "K\1K\2K\3\x87."s, "(1, 2, 3)"},
    {"Tuple", 't', "(K\1K\2K\3K\4t."s, "(1, 2, 3, 4)"},
    {"EmptyList", ']', "]."s, "[]"},
    {"List", 'l', "(K\1K\2l."s, "[1, 2]"},
    {"Append", 'a', "]K\5a."s, "[5]"},
    {"Appends", 'e', "]K\1a(K\2K\3e."s, "[1, 2, 3]"},
    {"AppendsOfNothingToAnything", 'e', "K\1(e."s, "1"},
    {"EmptyDict", '}', "}."s, "{}"},
    {"Dict", 'd', "(K\1K\2d."s, "{1: 2}"},
    {"SetItem", 's', "}U\1aK\1s."s, "{'a': 1}"},
    {"SetItems", 'u', "}(U\1aK\1U\1bK\2u."s, "{'a': 1, 'b': 2}"},
    {"EmptySet", 0x8F, "\x80\4\x8f."s, "set{}"},
    {"AddItems", 0x90, "\x80\4\x8f(K\1K\2\x90."s, "set{1, 2}"},
    {"FrozenSet", 0x91, "\x80\4(K\1\x91."s, "frozenset{1}"},
    {"Get", 'g', "K\1p7\n0g7\n."s, "1"},
    {"BinGet", 'h', "K\1q\xff" "0h\xff."s, "1"},
    {"LongBinGet", 'j', "K\1r\0\1\0\0" "0j\0\1\0\0."s, "1"},
    {"Put", 'p', "K\1p 007\n0g+7\n."s, "1"},
    {"BinPut", 'q', "K\1q\0K\2q\0" "0h\0\x86."s, "(1, 2)"},
    {"LongBinPutFarAway", 'r', "K\1r\0\0\0\xc0" "0j\0\0\0\xc0."s, "1"},
    {"Memoize", 0x94, "\x80\4K\1\x94K\2\x94h\0h\1\x86\x86."s, "(2, (1, 2))"},
    {"MemoizeTakesTheNumberOfEntries", 0x94, "\x80\4K\1q\5K\2\x94h\1\x86\x86."s, "(1, (2, 2))"},
    {"Global", 'c', "cos\nsystem\n."s, "os.system"},
    {"StackGlobal", 0x93, "\x80\4\x8c\2os\x8c\6system\x93."s, "os.system"},
    {"Ext1", 0x82, "\x80\2\x82\5."s, "extension"},
    {"Ext2", 0x83, "\x80\2\x83\5\1."s, "extension"},
    {"Ext4", 0x84, "\x80\2\x84\5\0\0\1."s, "extension"},
    {"Reduce", 'R', "cos\nsystem\n(U\2lstR."s, "os.system('ls')"},
    {"NewObj", 0x81, "\x80\2cm\nC\nK\1\x85\x81."s, "new m.C(1)"},
    {"NewObjEx", 0x92, "\x80\4cm\nC\nK\1\x85}U\1aK\2s\x92."s, "new m.C(1, **{'a': 2})"},
    {"Obj", 'o', "(cm\nC\nK\1K\2o."s, "m.C(1, 2)"},
    {"Inst", 'i', "(K\1im\nC\n."s, "m.C(1)"},
    {"Build", 'b', "\x80\2cm\nC\n)\x81}U\1aK\1sb."s, "new m.C() state {'a': 1}"},
    {"BuildWithNothingOnAnything", 'b', "K\1Nb."s, "1"},
    {"PersId", 'P', "P17\n."s, "pid('17')"},
    {"PersIdThatIsNoText", 'P', "P\xff\n."s, "pid(b:ff)"},
    {"BinPersId", 'Q', "K\1\x85Q."s, "pid((1))"},
};

class PickleOpcode : public ::testing::TestWithParam<OpcodeSample> {};

TEST_P(PickleOpcode, BuildsWhatPythonBuilds)
{
    EXPECT_EQ(shownPickle(GetParam().bytes), GetParam().shows);
}

TEST_P(PickleOpcode, IsRefusedWhenCutAnywhere)
{
    const std::size_t end = GetParam().opcode == '.' ? 2 : GetParam().bytes.size(); // what follows STOP is not read
    for (std::size_t size = 0; size < end; ++size)
        EXPECT_THAT(shownPickle(GetParam().bytes.substr(0, size)), ::testing::StartsWith("Corrupt: pickle")) << size;
}

INSTANTIATE_TEST_SUITE_P(Each, PickleOpcode, ::testing::ValuesIn(kOpcodes), [](const auto& row) { return row.param.name; });

TEST(PickleOpcodes, AreAllSixtyEightInTheTable)
{
    std::set<unsigned> known;
    for (unsigned code = 0; code < 256; ++code)
        if (pickle::groupOf(static_cast<std::uint8_t>(code)) != OpcodeGroup::Unknown)
            known.insert(code);
    std::set<unsigned> tried;
    for (const OpcodeSample& sample : kOpcodes)
        tried.insert(sample.opcode);
    EXPECT_EQ(known.size(), 68u);
    EXPECT_EQ(tried, known);
}

TEST(PickleGraph, AnswersNoForAnAbsentValue)
{
    const pickle::Value absent;
    EXPECT_FALSE(absent);
    EXPECT_TRUE(absent.isNone());
    EXPECT_EQ(absent.size(), 0u);
    EXPECT_FALSE(absent.at(0) || absent.keyAt(0) || absent.find("a") || absent.args() || absent.state() || absent.attribute("a") || absent.persistentId());
    EXPECT_FALSE(absent.asInt() || absent.asText() || absent.asFloat() || absent.asBool() || absent.asBytes());
    EXPECT_FALSE(absent.isMapping() || absent.isSequence());
}

TEST(PickleGraph, AnswersNoPastTheEnd)
{
    const auto list = graphOf("(K\1K\2l.");
    EXPECT_FALSE(list->root().at(2));
    EXPECT_FALSE(list->root().find("a"));
    EXPECT_EQ(list->root().at(1).asInt(), 2);
    const auto map = graphOf("}U\1aK\1s."s);
    EXPECT_FALSE(map->root().keyAt(1));
    EXPECT_FALSE(map->root().valueAt(1));
    EXPECT_FALSE(map->root().at(0));
}

TEST(PickleGraph, LetsTheLaterOfTwoEqualKeysWin)
{
    const auto graph = graphOf("}(U\1aK\1U\1aK\2u."s);
    EXPECT_EQ(graph->root().size(), 2u);
    EXPECT_EQ(graph->root().find("a").asInt(), 2);
}

TEST(PickleGraph, SharesWhatTheMemoShares)
{
    const auto graph = graphOf("]q\0h\0\x86."s);
    EXPECT_EQ(graph->root().at(0), graph->root().at(1));
    const auto itself = graphOf("\x80\x02]q\0h\0a."s);
    EXPECT_EQ(itself->root(), itself->root().at(0));
}

TEST(PickleGraph, ReadsOrderedDictAndItsKinAsMappings)
{
    const auto ordered = graphOf("ccollections\nOrderedDict\n)R(U\1aK\1U\1bK\2u."s);
    EXPECT_TRUE(ordered->root().isMapping());
    EXPECT_EQ(ordered->root().size(), 2u);
    EXPECT_EQ(ordered->root().find("b").asInt(), 2);
    EXPECT_TRUE(ordered->root().isCallOf("collections", "OrderedDict"));
    const auto pairs = graphOf("ccollections\nOrderedDict\n](U\1aK\1\x86U\1bK\2\x86" "e\x85RU\1cK\3s."s); // protocol 2 of Python 2: from a list of pairs
    EXPECT_EQ(pairs->root().size(), 3u);
    EXPECT_EQ(pairs->root().find("b").asInt(), 2);
    EXPECT_EQ(pairs->root().find("c").asInt(), 3);
    const auto counter = graphOf("ccollections\nCounter\n}U\1aK\4s\x85R."s);
    EXPECT_EQ(counter->root().find("a").asInt(), 4);
    const auto standard = graphOf("ccollections\ndefaultdict\nc__builtin__\nlist\n\x85RU\1aK\1s."s);
    EXPECT_EQ(standard->root().size(), 1u);
    EXPECT_EQ(standard->root().find("a").asInt(), 1);
}

TEST(PickleGraph, ReadsTorchSizeAndSetAsSequences)
{
    const auto size = graphOf("ctorch\nSize\nK\2K\3\x86\x85R."s);
    EXPECT_TRUE(size->root().isSequence());
    EXPECT_EQ(size->root().size(), 2u);
    EXPECT_EQ(size->root().at(1).asInt(), 3);
    const auto set = graphOf("c__builtin__\nset\n](K\1K\2e\x85R."s);
    EXPECT_EQ(set->root().size(), 2u);
    EXPECT_EQ(set->root().at(0).asInt(), 1);
}

TEST(PickleGraph, FindsAttributesInStateAndInSlots)
{
    const auto plain = graphOf("\x80\2cm\nC\n)\x81}U\1aK\1sb."s);
    EXPECT_EQ(plain->root().attribute("a").asInt(), 1);
    EXPECT_FALSE(plain->root().attribute("b"));
    const auto slots = graphOf("\x80\2cm\nC\n)\x81}U\1aK\1s}U\1bK\2s\x86" "b."s);
    EXPECT_EQ(slots->root().attribute("a").asInt(), 1);
    EXPECT_EQ(slots->root().attribute("b").asInt(), 2);
    const auto twice = graphOf("\x80\2cm\nC\n)\x81}U\1aK\1sb}U\1aK\2sb."s);
    EXPECT_EQ(twice->root().attribute("a").asInt(), 2); // the last BUILD counts
}

TEST(PickleGraph, TellsWhereItsPickleEnds)
{
    const std::string stream = "\x80\2K\1.\x80\2K\2.";
    const auto bytes = std::make_shared<const std::vector<std::byte>>(toBytes(stream));
    const auto first = Graph::parse(bytes);
    ASSERT_TRUE(first.ok());
    EXPECT_EQ((*first)->end(), 5u);
    const auto second = Graph::parse(bytes, (*first)->end());
    ASSERT_TRUE(second.ok());
    EXPECT_EQ((*second)->root().asInt(), 2);
    EXPECT_EQ((*second)->end(), stream.size());
    EXPECT_FALSE(Graph::parse(bytes, stream.size() + 1).ok());
}

TEST(PickleGraph, BringsLatin1BackToBytes)
{
    EXPECT_EQ(pickle::latin1("a\xc2\x80\xc3\xbfz"), "a\x80\xffz");
    EXPECT_EQ(pickle::latin1("\xc3"), "\xc3"); // cut in the middle: kept
}

} // namespace
} // namespace shardlens::test
