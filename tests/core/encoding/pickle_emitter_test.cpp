#include "core/encoding/pickle/emitter.h"
#include "core/encoding/pickle/graph_builder.h"
#include "tests/core/encoding/encoding_fixture.h"
#include "tests/core/encoding/same_graph.h"

#include <gmock/gmock.h>

#include <algorithm>
#include <filesystem>
#include <random>

// A pickle that is read and written again loads to the same objects.
namespace shardlens::test {
namespace {

using namespace std::string_literals;
using ::testing::HasSubstr;
using pickle::emitPickle;
using pickle::Graph;
using pickle::GraphBuilder;
using pickle::Value;

std::shared_ptr<const Graph> read(std::string_view bytes)
{
    auto graph = Graph::parse(std::make_shared<const std::vector<std::byte>>(toBytes(bytes)));
    return graph ? graph.take() : nullptr;
}

std::string textOf(const std::vector<std::byte>& bytes)
{
    return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

// Empty where the pickle survives; "Refused: …" where it cannot be written, else the difference.
std::string roundTrip(std::string_view bytes)
{
    const auto first = read(bytes);
    if (!first)
        return "not read";
    const auto written = emitPickle(first->root());
    if (!written)
        return codeName(written.error().code()) + ": " + written.error().text();
    const auto second = read(textOf(*written));
    if (!second)
        return "what was written is not read: " + shownPickle(textOf(*written));
    return differenceOf(first->root(), second->root());
}

struct EmittedSample {
    const char* name;
    std::string bytes;
};

class EmittedPickle : public ::testing::TestWithParam<EmittedSample> {};

TEST_P(EmittedPickle, LoadsToTheSame)
{
    EXPECT_EQ(roundTrip(GetParam().bytes), "");
}

const std::vector<EmittedSample> kEmitted{
    {"Numbers", "(I01\nI00\nI-4711\nK\xffM\x34\x12J\xfe\xff\xff\xff\x8a\x05\0\0\0\0\1G\x7f\xf0\0\0\0\0\0\0G\x80\0\0\0\0\0\0\0t."s},
    {"NumberBeyond64Bits", "\x8a\x09\xff\xff\xff\xff\xff\xff\xff\xff\0."s},
    {"TextAndBytes", "\x80\x04(\x8c\x03\xc3\xa9" "aC\x03" "abc\x96\x02\0\0\0\0\0\0\0xyt."s},
    {"LoneSurrogateStaysText", "X\x03\0\0\0\xed\xa0\x80."s},
    {"EightBitString", "U\x02\xff\xfe."s},
    {"EmptyContainers", "(]}\x8f(\x91)t."s},
    {"SharedList", "]q\0h\0\x86."s},
    {"ListInItself", "\x80\x02]q\0h\0a."s},
    {"TupleInItselfThroughAList", "]q\0h\0\x85q\1ah\1."s},
    {"DictInItself", "}q\0K\1h\0s."s},
    {"ObjectInItsArguments", "]q\0ccollections\nOrderedDict\nh\0\x85Rq\1ah\1."s},
    {"ObjectInItsState", "ccollections\nOrderedDict\n)Rq\0}U\1xh\0sb."s},
    {"FrozenSetInItself", "\x80\x04]q\0(h\0\x91q\1ah\1."s},
    {"OrderedDict", "ccollections\nOrderedDict\n)R(U\1aK\1U\1bK\2u}U\1mK\3sb."s},
    {"ListOfAnObject", "ccollections\ndeque\n)R(K\1K\2e."s},
    {"NewObjectWithState", "cargparse\nNamespace\n)\x81}U\1aK\1sb."s},
    {"NewObjectWithKeywords", "\x80\x04\x8c\x01m\x8c\x01" "C\x93)}\x8c\x01kK\1s\x92."s},
    {"EnumByValue", "cdeepspeed.runtime.zero.config\nZeroStageEnum\nK\2\x85R."s},
    {"EnumByName", "c__builtin__\ngetattr\n(cdeepspeed.runtime.zero.config\nZeroStageEnum\nU\x09gradientstR."s},
    {"InstAndObj", "(K\1iargparse\nNamespace\n(cargparse\nNamespace\nK\1o\x86."s},
    {"PersistentId", "(U\7storagectorch\nFloatStorage\nU\1" "0U\3cpuK\6tQ."s},
    {"PersistentIdOfALine", "P12\n."s},
    {"PythonTwoNameUnderProtocolFour", "(c__builtin__\nset\n]K\1a\x85R\x8f(K\2\x90t."s},
    {"DottedName", "\x80\x04\x8c\x0b" "collections\x8c\x10OrderedDict.keys\x93."s},
    {"RepeatedLongText", "X\x0a\0\0\0abcdefghijq\0h\0h\0\x87."s},
};

INSTANTIATE_TEST_SUITE_P(Kinds, EmittedPickle, ::testing::ValuesIn(kEmitted), [](const auto& row) { return std::string(row.param.name); });

TEST(PickleEmitter, StaysWithProtocolTwoWhereItCan)
{
    const auto graph = read("\x80\x04\x95\x09\0\0\0\0\0\0\0}\x8c\x01" "aK\1\x85s.\0"s);
    ASSERT_NE(graph, nullptr);
    EXPECT_EQ(textOf(*emitPickle(graph->root())), "\x80\x02}q\0X\1\0\0\0aK\1\x85s."s);
}

TEST(PickleEmitter, WritesLongListsInBatches)
{
    GraphBuilder builder;
    const Value list = builder.list();
    const Value dict = builder.dict();
    for (int i = 0; i < 2001; ++i) {
        builder.append(list, builder.integer(i));
        builder.set(dict, builder.integer(i), list);
    }
    const auto graph = std::move(builder).finish(dict);
    const auto written = emitPickle(graph->root());
    ASSERT_TRUE(written);
    const auto again = read(textOf(*written));
    ASSERT_NE(again, nullptr);
    EXPECT_EQ(differenceOf(graph->root(), again->root()), "");
}

TEST(PickleEmitter, TakesATreeAHundredThousandLevelsDeep)
{
    std::string deep(100'000, ']');
    deep += std::string(99'999, 'a') + ".";
    const auto graph = read(deep);
    ASSERT_NE(graph, nullptr);
    const auto written = emitPickle(graph->root());
    ASSERT_TRUE(written);
    const auto again = read(textOf(*written));
    ASSERT_NE(again, nullptr);
    EXPECT_EQ(differenceOf(graph->root(), again->root()), "");
}

TEST(PickleEmitter, RefusesWhatLiesOutsideTheFile)
{
    EXPECT_THAT(roundTrip("\x82\x05."s), HasSubstr("Refused: an extension code"));
    EXPECT_THAT(roundTrip("\x80\x05\x97."s), HasSubstr("Refused: an out-of-band buffer"));
    EXPECT_THAT(roundTrip("\x80\x04\x8c\x01m\x8c\x03" "a\nb\x93."s), HasSubstr("Refused: the import m.a"));
}

TEST(GraphBuilder, ImportsPartsAndKeepsTheirSharing)
{
    GraphBuilder builder;
    auto source = read("(](K\1K\2eq\0h\0U\4textt."s);
    ASSERT_NE(source, nullptr);
    const Value list = builder.import(source, source->root().at(0));
    const Value whole = builder.import(source, source->root());
    source.reset(); // the builder keeps what it points into
    const auto graph = std::move(builder).finish(builder.tuple({list, whole}));
    EXPECT_EQ(shown(graph->root()), "([1, 2], ([1, 2], [1, 2], 'text'))");
    EXPECT_EQ(graph->root().at(0), graph->root().at(1).at(1));
}

TEST(GraphBuilder, DropsAndReplaces)
{
    GraphBuilder builder;
    const auto source = read("}(U\4keepK\1U\4dropcos\nsystem\nU\4swapK\2U\4list](cos\nsystem\nK\3eu."s);
    ASSERT_NE(source, nullptr);
    const Value root = builder.import(source, source->root(), [&](Value value) -> GraphBuilder::Fate {
        if (value.isGlobal("os", "system"))
            return {GraphBuilder::Fate::Kind::Drop, {}};
        if (value.asInt() == 2)
            return {GraphBuilder::Fate::Kind::Replace, builder.text("two")};
        return {};
    });
    const auto graph = std::move(builder).finish(root);
    EXPECT_EQ(shown(graph->root()), "{'keep': 1, 'swap': 'two', 'list': [None, 3]}");
}

std::vector<std::string> benignPickles()
{
    std::vector<std::string> out;
    for (const auto& entry : std::filesystem::directory_iterator(SHARDLENS_SOURCE_DIR "/tests/fuzz/corpus/pickle"))
        if (std::string bytes = readFile(entry.path().string()); read(bytes))
            out.push_back(std::move(bytes));
    std::sort(out.begin(), out.end());
    return out;
}

TEST(PickleEmitter, MutatedPicklesThatStillReadSurvive)
{
    const auto seeds = benignPickles();
    ASSERT_GE(seeds.size(), 8u);
    std::mt19937 random(20261126);
    std::size_t survived = 0;
    for (int round = 0; round < 4000; ++round) {
        std::string bytes = seeds[random() % seeds.size()];
        for (std::size_t i = random() % 4; i > 0; --i)
            bytes[random() % bytes.size()] = static_cast<char>(random());
        const std::string result = roundTrip(bytes);
        if (result == "not read" || result.starts_with("Refused: "))
            continue;
        ASSERT_EQ(result, "") << "round " << round;
        ++survived;
    }
    EXPECT_GE(survived, 1000u);
}

} // namespace
} // namespace shardlens::test
