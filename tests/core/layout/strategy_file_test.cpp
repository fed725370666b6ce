// Strategy files in both encodings: the bytes of formats/mindspore.md §7.2, what MindSpore writes, and every way to be wrong.
#include "core/layout/mindspore_strategy.h"
#include "core/layout/strategy_boxes.h"
#include "core/layout/strategy_writer.h"

#include "tests/core/layout/strategy_bytes.h"
#include "tests/support/temporary_folder.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

namespace shardlens::mindspore {
namespace {

using test::fromHex;
using test::TemporaryFolder;
using test::wireBytes;
using test::wireField;
using test::WireLayout;
using test::wireLayoutItem;
using test::wireList;
using test::wireOperator;
using test::wireStrategy;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Not;

const std::string kMinusOne = "08 ff ff ff ff ff ff ff ff ff 01";
const std::string kExample = fromHex("08 01 12 1a 0a 08 4d 61 74 4d 75 6c 5f 77 12 0e 08 00 12 04 08 02 08 01 12 04 08 02 08 01"
                                     "1a 2d 0a 01 77 12 28 0a 04 08 02 08 02 12 0d 08 00" +
                                     kMinusOne + "1a 00 22 00 28 00 30 02 38 ff ff ff ff ff ff ff ff ff 01");
const std::string kMultiAxisLayouts = fromHex("0a 04 08 02 08 02 12 04 08 01 08 00 12 0b" + kMinusOne + "1a 00 22 00 28 00 30 02 38 ff ff ff ff ff ff ff ff ff 01");
constexpr const char* kJson = R"({"current_stage": 1,
 "parallel_strategy_item": {"MatMul_w": {"parallel_strategy": [[2, 1], [2, 1]], "stage": 0}},
 "parallel_layout_item": {"w": {"dev_matrix": [2, 2], "tensor_map": [0, -1], "tensor_shape": [8, 4],
                                "field": 0, "opt_weight_shard_step": 2, "opt_weight_shard_size": -1}}})";

Strategy parsed(const std::string& bytes)
{
    auto out = parseStrategy(bytes, "test");
    EXPECT_TRUE(out) << (out ? "" : out.error().text());
    if (out)
        return out.take();
    return test::strategyOf({{"none", 0, test::layout({1}, {}), {}}});
}

std::string refusal(const std::string& bytes)
{
    const auto out = parseStrategy(bytes, "test");
    return out ? "accepted" : out.error().text();
}

std::string storedNames(const Strategy& strategy)
{
    std::string out;
    for (const StrategyItem& item : strategy.items())
        out += (out.empty() ? "" : " ") + std::to_string(item.stage) + ":" + item.name;
    return out;
}

TEST(StrategyFile, ReadsTheReferencesBytes)
{
    ASSERT_EQ(kExample.size(), 77u);
    const Strategy strategy = parsed(kExample);
    EXPECT_EQ(strategy.currentStage(), 1u);
    EXPECT_FALSE(strategy.isMerged());
    EXPECT_EQ(strategy.stageCount(), 1u);
    EXPECT_EQ(strategy.worldSize(), 4u);
    EXPECT_EQ(strategy.parameterCount(), 1u);
    EXPECT_THAT(strategy.notes(), IsEmpty());
    const StrategyItem* item = strategy.find("w", 0);
    ASSERT_NE(item, nullptr);
    EXPECT_EQ(strategy.find("w", 1), nullptr);
    EXPECT_EQ(strategy.find("v", 0), nullptr);
    EXPECT_EQ(strategy.layoutOf(*item), test::layout({2, 2}, {{0}, {-1}}, 2, -1));
    ASSERT_EQ(strategy.operators().size(), 1u);
    EXPECT_EQ(strategy.operators()[0], (StrategyOperator{"MatMul_w", 0, {{2, 1}, {2, 1}}}));
    EXPECT_EQ(strategyProtobuf(strategy), kExample);
}

TEST(StrategyFile, ReadsMultiAxisMaps)
{
    const std::string file = wireField(1, 1) + wireBytes(3, wireBytes(1, "w") + wireBytes(2, kMultiAxisLayouts));
    const Strategy strategy = parsed(file);
    EXPECT_EQ(strategy.layouts()[0], test::layout({2, 2}, {{1, 0}, {-1}}, 2, -1));
    EXPECT_EQ(strategyProtobuf(strategy), file);
    EXPECT_THAT(strategy.notes(), ElementsAre(HasSubstr("taken for stage 0")));
}

// One dimension of several axes: an empty message says that the map is not flat.
TEST(StrategyFile, KeepsTheEmptyMessageOfOneDimension)
{
    const std::string file = wireStrategy({{"v", {2, 1, 2}, {{2, 0}, {}}}});
    const Strategy strategy = parsed(file);
    EXPECT_EQ(strategy.layouts()[0].tensorMap, (std::vector<std::vector<std::uint32_t>>{{2, 0}}));
    EXPECT_TRUE(strategy.layouts()[0].isMultiAxis);
    EXPECT_EQ(strategyProtobuf(strategy), file);
    const Strategy scalar = parsed(wireStrategy({{"s", {4}, {{}}}}));
    EXPECT_THAT(scalar.layouts()[0].tensorMap, IsEmpty());
}

TEST(StrategyFile, AcceptsOtherEncodersFields)
{
    // Packed numbers, fields in another order, an unknown field inside, a repeated singular field.
    const std::string layouts = wireField(7, -1) + wireField(6, 1) + wireField(6, 2) + wireBytes(2, wireBytes(1, fromHex("00 ff ff ff ff ff ff ff ff ff 01"))) +
                                wireBytes(1, wireBytes(1, fromHex("02 02"))) + wireBytes(9, "?") + wireField(5, 0);
    const Strategy strategy = parsed(wireField(1, 1) + wireBytes(3, wireBytes(2, layouts) + wireBytes(1, "w")) + wireField(1, 2));
    EXPECT_EQ(strategy.layouts()[0], test::layout({2, 2}, {{0}, {-1}}, 2, -1));
    EXPECT_EQ(strategy.currentStage(), 2u);
}

TEST(StrategyFile, ReadsFilesFromBeforeTheOptimizersShard)
{
    const std::string layouts = wireBytes(1, wireList({4})) + wireBytes(2, wireList({0})) + wireBytes(3, "") + wireBytes(4, "") + wireField(5, 0);
    const Strategy strategy = parsed(wireField(1, 1) + wireOperator("MatMul_w", 0) + wireBytes(3, wireBytes(1, "w") + wireBytes(2, layouts)));
    EXPECT_TRUE(strategy.layouts()[0].lacksOptimizerFields);
    EXPECT_EQ(optimizerShards(strategy.layouts()[0]), 1u);
    EXPECT_THAT(strategy.notes(), ElementsAre("written before MindSpore 1.3 (1 parameter without the optimizer's fields); assuming no optimizer shard"));
}

TEST(StrategyFile, ReadsJson)
{
    const Strategy strategy = parsed(kJson);
    ASSERT_EQ(strategy.items().size(), 1u);
    EXPECT_THAT(*strategy.items()[0].fullShape, ElementsAre(8, 4));
    ParameterLayout expected = test::layout({2, 2}, {{0}, {-1}}, 2, -1);
    expected.isFromJson = true;
    EXPECT_EQ(strategy.layouts()[0], expected);
    EXPECT_EQ(strategyProtobuf(strategy), kExample);
    const auto json = strategyJson(strategy);
    ASSERT_TRUE(json);
    const Strategy again = parsed(*json);
    EXPECT_EQ(again.items()[0].fullShape, strategy.items()[0].fullShape);
    EXPECT_EQ(again.layouts()[0], strategy.layouts()[0]);
    EXPECT_EQ(again.operators()[0], strategy.operators()[0]);
}

// The order of a JSON file is that of its text, not of the alphabet.
TEST(StrategyFile, KeepsTheOrderOfJson)
{
    std::string items;
    for (const char* name : {"1-z", "0-b", "1-a", "0-c"})
        items += std::string(items.empty() ? "" : ",") + "\"" + name + R"(": {"dev_matrix": [2], "tensor_map": [0], "opt_weight_shard_step": 0, "opt_weight_shard_size": 0})";
    const Strategy strategy = parsed("\n{\"parallel_layout_item\": {" + items + "}}");
    EXPECT_EQ(storedNames(strategy), "1:z 0:b 1:a 0:c");
    EXPECT_TRUE(strategy.isMerged());
    EXPECT_FALSE(strategy.items()[0].fullShape);
}

// §9.1: the first dash counts, and only where every name has a number before it.
TEST(StrategyFile, SplitsNamesOfMergesOnly)
{
    const Strategy merged = parsed(wireStrategy({{"1-a-b.w", {2}, {{0}}}, {"0-a-b.w", {2}, {{-1}}}, {"0-7-x", {2}, {{-1}}}}));
    EXPECT_EQ(storedNames(merged), "1:a-b.w 0:a-b.w 0:7-x");
    EXPECT_THAT(merged.stagesOf("a-b.w"), ElementsAre(0, 1));
    EXPECT_EQ(merged.findLowest("a-b.w"), &merged.items()[1]);
    EXPECT_EQ(merged.parameterCount(), 2u);
    const Strategy single = parsed(wireStrategy({{"0-a", {2}, {{0}}}, {"down-proj.w", {2}, {{0}}}}));
    EXPECT_EQ(storedNames(single), "0:0-a 0:down-proj.w");
    EXPECT_FALSE(single.isMerged());
}

TEST(StrategyFile, NamesTheStagesThatAreMissing)
{
    EXPECT_EQ(refusal(wireStrategy({{"w", {2, 2}, {{0}}}}, 1)),
              "it describes pipeline stage 1, and stage 0 is missing: the file of stage 0 is one that any of ranks 0 to 3 writes; give the folder of all stages' files, or their merge");
    EXPECT_THAT(refusal(wireStrategy({{"4-w", {2}, {{0}}}, {"0-w", {2}, {{0}}}})), HasSubstr("pipeline stages 0, 4, and stages 1 to 3 are missing: the file of stage 1 is one that any of ranks 2 to 3 writes"));
    EXPECT_THAT(refusal(wireStrategy({{"4000000000-w", {2}, {{0}}}})), HasSubstr("pipeline stage 4000000000, at most 65536"));
}

TEST(StrategyFile, ToleratesAParameterThatIsListedTwiceAlike)
{
    const Strategy strategy = parsed(wireStrategy({{"w", {2}, {{0}}}, {"v", {2}, {{0}}}, {"w", {2}, {{0}}}}));
    EXPECT_EQ(storedNames(strategy), "0:w 0:v");
    EXPECT_THAT(strategy.notes(), ElementsAre(HasSubstr("1 parameter is listed twice")));
    EXPECT_NE(strategy.find("w", 0), nullptr);
}

struct BadStrategy {
    std::string name;
    std::string bytes;
    std::string says;
};

class StrategyRejects : public testing::TestWithParam<BadStrategy> {};

TEST_P(StrategyRejects, Says)
{
    EXPECT_THAT(refusal(GetParam().bytes), HasSubstr(GetParam().says));
}

std::string one(const WireLayout& layout)
{
    return wireStrategy({layout});
}

std::string json(const std::string& layout)
{
    return R"({"current_stage": 1, "parallel_strategy_item": {}, "parallel_layout_item": {"w": )" + layout + "}}";
}

const std::string kWeights = fromHex("0a 24 0a 01 77 12 1f 08 02 08 02 12 07 46 6c 6f 61 74 33 32 1a 10 00 00 80 3f 00 00 00 40 00 00 40 40 00 00 80 40");

INSTANTIATE_TEST_SUITE_P(
    Layouts, StrategyRejects,
    testing::Values(BadStrategy{"AxisBeyondMatrix", one({"w", {2, 2}, {{0, 2}}}), "parameter w: its dimension 1 is cut by axis 2, and the device matrix [2, 2] has axes 0 to 1"},
                    BadStrategy{"AxisTwice", one({"w", {2, 2}, {{0, 0}}}), "parameter w: its tensor map names axis 0 twice"},
                    BadStrategy{"AxisTwiceInOneDimension", one({"w", {2, 2}, {{1, 1}, {-1}}}), "names axis 1 twice"},
                    BadStrategy{"NegativeAxis", one({"w", {2}, {{-2}}}), "parameter w: its tensor map names axis -2"},
                    BadStrategy{"NoneAmongAxes", one({"w", {2, 2}, {{-1, 0}, {-1}}}), "names axis -1"},
                    BadStrategy{"ZeroAxis", one({"w", {2, 0}, {{1}}}), "parameter w: its device matrix [2, 0] has an axis of size 0"},
                    BadStrategy{"EmptyMatrix", one({"w", {}, {{-1}}}), "parameter w: its device matrix is empty"},
                    BadStrategy{"HugeMatrix", one({"w", {65536, 65536}, {{-1}}}), "of more than 1,048,576 devices"},
                    BadStrategy{"OverflowingMatrix", one({"w", {4294967295, 4294967295, 4294967295}, {{-1}}}), "of more than 1,048,576 devices"},
                    BadStrategy{"OtherProduct", wireStrategy({{"w", {2, 2}, {{0}}}, {"v", {2}, {{0}}}}), "parameter v: its device matrix [2] is of 2 devices, and [2, 2] of parameter w is of 4"},
                    BadStrategy{"OtherProductOfStage", wireStrategy({{"0-w", {4}, {{0}}}, {"1-w", {8}, {{0}}}}), "parameter 1-w: its device matrix [8] is of 8 devices"},
                    BadStrategy{"ShardOfNone", one({"w", {2, 3}, {{0}}, 3, 4}), "over groups of 4, into which the 2 ranks that hold a slice are not divisible"},
                    BadStrategy{"ShardBelowMinusOne", one({"w", {2}, {{-1}}, 1, -3}), "an optimizer shard of size -3"},
                    BadStrategy{"TwiceDifferent", wireStrategy({{"w", {2}, {{0}}}, {"w", {2}, {{-1}}}}), "parameter w: it is listed twice, with different layouts"},
                    BadStrategy{"UnevenCounts", one({"w", {4}, {{0}}, 0, 0, {1, 2, 3}}), "its param_split_shape has 3 row counts for 4 slices"},
                    BadStrategy{"UnevenNegative", one({"w", {2}, {{0}}, 0, 0, {1, -2}}), "a row count of -2"},
                    BadStrategy{"UnevenBeside", one({"w", {2, 2}, {{1, 0}}, 0, 0, {1, 2, 3, 3}}), "its slices 0 and 1 lie side by side, with 1 and 2 rows"},
                    BadStrategy{"NoParameters", wireField(1, 1) + wireOperator("MatMul_w", 0), "it lists no sliced parameters"},
                    BadStrategy{"NameNoText", one({"w\xff", {2}, {{0}}}), "w\\xff is no UTF-8"},
                    BadStrategy{"NoMap", wireField(1, 1) + wireBytes(3, wireBytes(1, "w") + wireBytes(2, wireBytes(1, wireList({2})))), "parameter w: it has no tensor map"},
                    BadStrategy{"NoMatrix", wireField(1, 1) + wireBytes(3, wireBytes(1, "w") + wireBytes(2, wireBytes(2, wireList({0})))), "parameter w: it has no device matrix"},
                    BadStrategy{"TooManyDimensions", one({"w", {2}, {std::vector<std::int64_t>(65, -1)}}), "more than 64"}),
    [](const auto& row) { return row.param.name; });

INSTANTIATE_TEST_SUITE_P(
    Kinds, StrategyRejects,
    testing::Values(BadStrategy{"Empty", "", "an empty file"}, BadStrategy{"Weights", kWeights, "it is a weights file, not a strategy"},
                    BadStrategy{"WeightsCut", kWeights.substr(0, 20) + std::string(40, '\1'), "it is a weights file, not a strategy"},
                    BadStrategy{"MapTensor", wireBytes(1, wireBytes(1, "emb") + wireBytes(3, wireBytes(1, "x"))), "it is a weights file, not a strategy"},
                    BadStrategy{"GroupMap", wireBytes(1, wireBytes(1, "g") + wireBytes(2, wireList({0, 1, 2}))) + wireBytes(2, wireList({0})), "it is a group file (ParallelGroupMap), not a strategy"},
                    BadStrategy{"Encrypted", fromHex("d8 5e 3a 7f 3f 2f f5 e5 fa ed 1d d4"), "it is encrypted"}, BadStrategy{"Zip", "PK\x03\x04....", "it is a zip archive (a PyTorch file)"},
                    BadStrategy{"Pickle", std::string("\x80\x02}q.", 5), "it is a pickle, not a strategy"},
                    BadStrategy{"Safetensors", fromHex("08 00 00 00 00 00 00 00") + "{      }", "it is a safetensors file with weights, not a strategy"},
                    BadStrategy{"Text", "hello", "neither MindSpore's protobuf nor JSON"},
                    BadStrategy{"Onnx", fromHex("08 07 12 07 70 79 74 6f 72 63 68"), "it is no strategy file: "},
                    BadStrategy{"OtherField", wireField(1, 1) + wireBytes(4, "x"), "it is no strategy file: field 4 at byte 2 is none of a strategy"},
                    BadStrategy{"NoCurrentStage", fromHex("08 01") + wireBytes(3, wireBytes(1, "w")), "its item at byte 2 has no content"},
                    BadStrategy{"LengthPastEnd", fromHex("08 01 1a ff 01 0a"), "truncated: what begins at byte 2 needs 254 more"},
                    BadStrategy{"EndlessVarint", fromHex("08 01 1a ff ff ff ff ff ff ff ff ff ff 01"), "does not end within 10 bytes"},
                    BadStrategy{"WireType", fromHex("08 01 1b"), "a field of wire type 3 at byte 2"}),
    [](const auto& row) { return row.param.name; });

INSTANTIATE_TEST_SUITE_P(
    Json, StrategyRejects,
    testing::Values(BadStrategy{"NoJson", "{\"current_stage\": ", "no JSON: "}, BadStrategy{"Nothing", "{}", "no strategy file: parallel_layout_item is missing"},
                    BadStrategy{"NoItems", R"({"current_stage": 1, "parallel_layout_item": {}})", "it lists no sliced parameters"},
                    BadStrategy{"NullItems", R"({"current_stage": 1, "parallel_layout_item": null})", "it lists no sliced parameters"},
                    BadStrategy{"OperatorStrategies", R"({"current_stage": 1, "parallel_strategy_item": {}, "parallel_layout_value_item": {}})", "strategies of operators (set_op_strategy_config)"},
                    BadStrategy{"ItemsAList", R"({"parallel_layout_item": [1]})", "parallel_layout_item is array"},
                    BadStrategy{"MultiAxisLost", json(R"({"dev_matrix": [2, 2], "tensor_map": [0, 1, -1], "tensor_shape": [8, 4]})"),
                                "parameter w: its tensor_map is of 3 dimensions and its tensor_shape [8, 4]: a multi-axis layout, which JSON loses; use the protobuf strategy"},
                    BadStrategy{"MapShort", json(R"({"dev_matrix": [2, 2], "tensor_map": [0], "tensor_shape": [8, 4]})"), "its tensor_map is of 1 dimension and its tensor_shape [8, 4]"},
                    BadStrategy{"NoMap", json(R"({"dev_matrix": [2]})"), "parameter w: tensor_map is missing"},
                    BadStrategy{"Fraction", json(R"({"dev_matrix": [2.5], "tensor_map": [0]})"), "parameter w: dev_matrix: a whole number is needed, and this is number"},
                    BadStrategy{"NegativeSize", json(R"({"dev_matrix": [-2], "tensor_map": [0]})"), "dev_matrix: -2 is no size"},
                    BadStrategy{"HugeNumber", json(R"({"dev_matrix": [18446744073709551615], "tensor_map": [0]})"), "more than 63 bits"},
                    BadStrategy{"HugeAxis", json(R"({"dev_matrix": [2], "tensor_map": [4294967296]})"), "tensor_map: its tensor map names axis 4294967296"},
                    BadStrategy{"Text", json(R"("x")"), "a layout is needed, and this is string"},
                    BadStrategy{"Deep", std::string(40, '['), "neither MindSpore's"}, BadStrategy{"Nested", "{\"a\": " + std::string(40, '['), "nests 41 levels deep"}),
    [](const auto& row) { return row.param.name; });

// Every prefix of a good file fails, and says so without harm.
TEST(StrategyFile, EveryPrefixFailsCleanly)
{
    const std::string file = wireStrategy({{"0-w", {2, 2}, {{0, -1}}, 2, -1}, {"1-w", {2, 2}, {{1, 0}, {-1}}}});
    std::size_t accepted = 0;
    for (std::size_t size = 0; size < file.size(); ++size)
        accepted += parseStrategy(file.substr(0, size), "test") ? 1 : 0;
    EXPECT_EQ(accepted, 1u); // the one that ends behind stage 0
}

TEST(StrategyFile, IsWrittenAsJsonWhereItCanBe)
{
    const Strategy several = parsed(wireStrategy({{"w", {2, 2}, {{1, 0}, {-1}}}}));
    EXPECT_THAT(strategyJson(several).error().text(), HasSubstr("parameter w: a dimension is cut by several axes, which JSON cannot hold"));
    EXPECT_FALSE(strategyBytesFor(several, "x.json"));
    EXPECT_EQ(*strategyBytesFor(several, "x.ckpt"), strategyProtobuf(several));
    const std::string uneven = wireStrategy({{"0-a\"b", {4}, {{0, -1}}, 0, 0, {3, 5, 0, 4}, 0}, {"1-c", {4}, {{-1}}, 1, 2}});
    const Strategy strategy = parsed(uneven);
    const auto json = strategyBytesFor(strategy, "x.json");
    ASSERT_TRUE(json);
    const Strategy again = parsed(*json);
    EXPECT_EQ(storedNames(again), "0:a\"b 1:c");
    EXPECT_THAT(again.layouts()[0].paramSplitShape, ElementsAre(3, 5, 0, 4));
    EXPECT_EQ(strategyProtobuf(again), uneven);
}

TEST(StrategyFile, RandomOnesComeBackAsTheyWere)
{
    std::mt19937 random(5);
    for (int round = 0; round < 200; ++round) {
        StrategyParts parts;
        const std::uint64_t devices = std::vector<std::uint64_t>{1, 4, 6, 16}[random() % 4];
        const auto stages = static_cast<std::uint32_t>(1 + random() % 3);
        for (std::uint32_t i = 0; i < 6; ++i)
            parts.parameters.push_back({"p" + std::to_string(i) + "-x", i % stages, test::randomLayout(random, devices, random() % 4, true), {}});
        for (std::uint32_t stage = 0; stage < stages; ++stage)
            parts.operators.push_back({"Op" + std::to_string(stage), stage, {{1, devices}, {}}});
        const auto strategy = Strategy::make(std::move(parts));
        ASSERT_TRUE(strategy) << strategy.error().text();
        const std::string bytes = strategyProtobuf(*strategy);
        const Strategy again = parsed(bytes);
        ASSERT_EQ(storedNames(again), storedNames(*strategy));
        for (std::size_t i = 0; i < again.items().size(); ++i)
            ASSERT_EQ(again.layoutOf(again.items()[i]), strategy->layoutOf(strategy->items()[i]));
        ASSERT_EQ(strategyProtobuf(again), bytes);
        ASSERT_TRUE(looksLikeStrategy(std::string_view(bytes).substr(0, 40), bytes.size()));
    }
}

TEST(StrategyProbe, TellsStrategiesByContent)
{
    EXPECT_TRUE(looksLikeStrategy(kExample, kExample.size()));
    EXPECT_TRUE(looksLikeStrategy(kExample.substr(0, 24), kExample.size()));
    EXPECT_TRUE(looksLikeStrategy(kJson, std::string(kJson).size()));
    EXPECT_TRUE(looksLikeStrategy(wireField(1, 300), 3));
    EXPECT_FALSE(looksLikeStrategy(kWeights, kWeights.size()));
    EXPECT_FALSE(looksLikeStrategy("{\"weight_map\": {}}", 18));
    EXPECT_FALSE(looksLikeStrategy(fromHex("08 07 12 07 70 79 74 6f 72 63 68 1a 00"), 1000)); // ONNX: producer_name
    EXPECT_FALSE(looksLikeStrategy("", 0));
    EXPECT_FALSE(looksLikeStrategy(fromHex("08"), 1));
    EXPECT_FALSE(looksLikeStrategy(fromHex("08 01 1a 7f 0a 01 77"), 12)); // longer than the file
}

class StrategyFolderTest : public testing::Test {
protected:
    void write(const std::string& name, const std::string& bytes) const { std::ofstream(m_folder.file(name), std::ios::binary) << bytes; }
    [[nodiscard]] std::string path() const { return m_folder.path().string(); }
    [[nodiscard]] std::string refusal() const
    {
        const auto out = readStrategyFolder(path());
        return out ? "accepted" : out.error().text();
    }

    TemporaryFolder m_folder;
};

TEST_F(StrategyFolderTest, IsTheMergeOfItsStages)
{
    write("rank_10.ckpt", wireStrategy({{"head", {2, 2}, {{0}}}, {"embed", {2, 2}, {{0}}}}, 1));
    write("rank_2.ckpt", wireStrategy({{"embed", {2, 2}, {{0}}}, {"l-0", {2, 2}, {{-1}}, 1, -1}}, 0));
    write("rank_3.ckpt", wireStrategy({{"l-0", {2, 2}, {{-1}}, 1, -1}, {"embed", {2, 2}, {{0}}}}, 0)); // in another order
    write("notes.txt", "x");
    const auto folder = readStrategyFolder(path());
    ASSERT_TRUE(folder) << folder.error().text();
    EXPECT_EQ(storedNames(folder->strategy), "0:embed 0:l-0 1:head 1:embed");
    EXPECT_TRUE(folder->strategy.isMerged());
    ASSERT_EQ(folder->parts.size(), 2u);
    EXPECT_EQ(folder->parts[0].file, "rank_2.ckpt");
    EXPECT_EQ(folder->parts[1].stage, 1u);
    ASSERT_EQ(folder->skipped.size(), 1u);
    EXPECT_EQ(folder->skipped[0].file + ": " + folder->skipped[0].why, "rank_3.ckpt: stage 0 again, which rank_2.ckpt has");
    // MindSpore's bytes: all operators, then all layouts with their stage before the name.
    const std::string merged = wireField(1, 1) + wireOperator("MatMul_embed", 0) + wireOperator("MatMul_head", 1) + wireLayoutItem({"0-embed", {2, 2}, {{0}}}) +
                               wireLayoutItem({"0-l-0", {2, 2}, {{-1}}, 1, -1}) + wireLayoutItem({"1-head", {2, 2}, {{0}}}) + wireLayoutItem({"1-embed", {2, 2}, {{0}}});
    EXPECT_EQ(strategyProtobuf(folder->strategy), merged);
    EXPECT_EQ(storedNames(*readStrategyOrFolder(path())), storedNames(folder->strategy));
    // Merged into the same folder, it is no stage of its own.
    write("merged.ckpt", merged);
    const auto again = readStrategyFolder(path());
    ASSERT_TRUE(again) << again.error().text();
    EXPECT_EQ(storedNames(again->strategy), storedNames(folder->strategy));
    EXPECT_EQ(again->skipped[0].file + ": " + again->skipped[0].why, "merged.ckpt: a merge already");
    EXPECT_THAT(strategyFilesIn(path()), ElementsAre("merged.ckpt", "rank_2.ckpt", "rank_3.ckpt", "rank_10.ckpt"));
}

TEST_F(StrategyFolderTest, StandsForItsOnlyMerge)
{
    write("merged.ckpt", wireStrategy({{"0-w", {2}, {{0}}}, {"1-w", {2}, {{0}}}}));
    EXPECT_EQ(storedNames(*readStrategyOrFolder(path())), "0:w 1:w");
    write("other.ckpt", wireStrategy({{"0-w", {2}, {{-1}}}, {"1-w", {2}, {{0}}}}));
    EXPECT_THAT(refusal(), HasSubstr("merged.ckpt and other.ckpt are merges that differ; name one of them"));
}

TEST_F(StrategyFolderTest, RefusesWhatItCannotMerge)
{
    EXPECT_THAT(refusal(), HasSubstr("no *.ckpt or *.json in it"));
    write("stage1.ckpt", wireStrategy({{"w", {2}, {{0}}}}, 1));
    EXPECT_THAT(refusal(), AllOf(HasSubstr(path()), HasSubstr("stage 0 is missing")));
    write("stage0.ckpt", wireStrategy({{"v", {4}, {{0}}}}, 0));
    EXPECT_THAT(refusal(), HasSubstr("parameter 1-w: its device matrix [2] is of 2 devices, and [4] of parameter 0-v is of 4"));
    write("stage0.ckpt", wireStrategy({{"v", {2}, {{0}}}}, 0));
    EXPECT_EQ(refusal(), "accepted");
    write("stage0_again.ckpt", wireStrategy({{"v", {2}, {{-1}}}}, 0));
    EXPECT_THAT(refusal(), HasSubstr("stage0_again.ckpt: it is of stage 0, as stage0.ckpt is, and they differ"));
    write("stage0_again.ckpt", kWeights);
    EXPECT_THAT(refusal(), HasSubstr("stage0_again.ckpt: it is a weights file, not a strategy"));
    write("stage0_again.ckpt", wireField(1, 1) + wireLayoutItem({"v", {2}, {{0}}}));
    EXPECT_THAT(refusal(), HasSubstr("stage0_again.ckpt: it lists no operators, which would say its pipeline stage"));
    write("other.json", "{}");
    EXPECT_THAT(refusal(), HasSubstr("both kinds of strategies are in it, protobuf (stage0.ckpt) and JSON (other.json)"));
    const auto nowhere = readStrategyFolder(path() + "/nowhere");
    EXPECT_EQ(nowhere.error().code(), ErrorCode::NotFound);
    EXPECT_THAT(nowhere.error().text(), HasSubstr("nowhere: No such file"));
    EXPECT_THAT(readStrategyOrFolder(path() + "/none.ckpt").error().text(), HasSubstr("none.ckpt: no such file"));
}

TEST_F(StrategyFolderTest, MergesJson)
{
    const auto stage = [](int number) {
        return R"({"current_stage": 2, "parallel_layout_item": {"w": {"dev_matrix": [2], "tensor_map": [0], "tensor_shape": [8], "field": 0, "opt_weight_shard_step": 0, "opt_weight_shard_size": 0}},
                   "parallel_strategy_item": {"Op": {"parallel_strategy": [[2]], "stage": )" + std::to_string(number) + "}}}";
    };
    write("a.json", stage(1));
    write("b.json", stage(0));
    write("c.json", stage(0));
    const auto folder = readStrategyFolder(path());
    ASSERT_TRUE(folder) << folder.error().text();
    EXPECT_EQ(storedNames(folder->strategy), "0:w 1:w");
    EXPECT_EQ(folder->skipped.size(), 1u);
    const auto json = strategyJson(folder->strategy);
    ASSERT_TRUE(json);
    EXPECT_THAT(*json, AllOf(HasSubstr("\"0-w\""), HasSubstr("\"1-w\""), HasSubstr("\"stage\": 1"), Not(HasSubstr("\"stage\": 0")))); // as MindSpore: one entry a name
}

} // namespace
} // namespace shardlens::mindspore
