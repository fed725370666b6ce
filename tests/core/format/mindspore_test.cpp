#include "core/encoding/tensor_reader.h"
#include "tests/core/format/format_fixture.h"
#include "tests/support/mindspore_test_run.h"
#include "tests/support/temporary_folder.h"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

// Opening what MindSpore writes: which files count, what belongs together, and what is missing (formats/mindspore.md).
namespace shardlens {
namespace {

using test::ckptRecord;
using test::MindSporeLayout;
using test::MindSporeTestRun;
using test::writeBytes;
using testing::AllOf;
using testing::Contains;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Not;
using testing::UnorderedElementsAre;

std::string floats(std::initializer_list<float> values)
{
    return {reinterpret_cast<const char*>(values.begin()), values.size() * sizeof(float)};
}

// Two ranks that cut the rows of w, one file a rank.
MindSporeTestRun twoRanks()
{
    MindSporeTestRun run;
    run.devices = 2;
    run.tensors = {{"step", "Int32", 4, {}, {}}, {"w", "Float32", 4, {4, 3}, {{0, MindSporeLayout{{2}, {{0}, {}}, 0}}}}, {"v", "Float32", 4, {3}, {{0, MindSporeLayout{{2}, {{}}, 0}}}}};
    return run;
}

class MindSporeFolder : public testing::Test {
protected:
    Result<CheckpointPtr> open(const std::string& name, const std::string& strategy = {}, const std::string& tag = {})
    {
        OpenOptions options;
        if (!strategy.empty())
            options.sourceStrategy = path(strategy);
        if (!tag.empty())
            options.tag = tag;
        return test::openPath(path(name), options);
    }
    std::string refusal(const std::string& name, const std::string& strategy = {}, const std::string& tag = {})
    {
        const auto opened = open(name, strategy, tag);
        return opened ? "opened" : opened.error().text();
    }
    std::vector<std::string> findings(const std::string& name, const std::string& strategy = {})
    {
        const auto opened = open(name, strategy);
        return opened ? test::findingsOf(**opened) : std::vector<std::string>{"refused: " + opened.error().text()};
    }
    std::string path(const std::string& name) { return m_folder.file(name); }
    // One float named w in each rank's folder, so that a test sees which file was read.
    void save(const std::string& root, std::uint32_t rank, const std::string& file, float value) { writeBytes(path(fmt::format("{}/rank_{}/{}", root, rank, file)), ckptRecord("w", "Float32", {1}, floats({value}))); }
    float shown(const std::string& name, const std::string& tensor, const std::string& tag = {})
    {
        const auto opened = open(name, "", tag);
        EXPECT_TRUE(opened.ok()) << (opened ? "" : opened.error().text());
        return opened ? test::floatsOf(*opened, tensor).at(0) : -1;
    }

    const test::TemporaryFolder m_folder;
};

// ---- which files ----

TEST_F(MindSporeFolder, TheHighestEpochAndStepCountsAndNotTheLastName)
{
    for (const std::uint32_t rank : {0u, 1u}) {
        save("run", rank, fmt::format("net_rank_{}-9_5.ckpt", rank), 9.5f);
        save("run", rank, fmt::format("net_rank_{}-10_5.ckpt", rank), 10.5f);
        save("run", rank, fmt::format("net_rank_{}-10_3.ckpt", rank), 10.25f);
    }
    EXPECT_EQ(shown("run", "rank_1/w"), 10.5f);
    EXPECT_EQ(shown("run", "rank_1/w", "9_5"), 9.5f);
    EXPECT_EQ(shown("run", "rank_1/w", "net_rank_*-10_3.ckpt"), 10.25f);
    EXPECT_THAT(refusal("run", "", "7_7"), AllOf(HasSubstr("7_7"), HasSubstr("10_5, 10_3, 9_5")));
    const auto opened = open("run");
    ASSERT_TRUE(opened.ok());
    EXPECT_THAT((*opened)->facts(), Contains(testing::Pair("also here", "net_rank_*-10_3.ckpt, net_rank_*-9_5.ckpt")));
    EXPECT_EQ((*opened)->subtitle(), "epoch 10, step 5");
}

TEST_F(MindSporeFolder, StepsAreNotMixed)
{
    for (const std::uint32_t rank : {0u, 1u, 2u})
        save("run", rank, fmt::format("net_rank_{}-1_1.ckpt", rank), 1);
    save("run", 0, "net_rank_0-1_2.ckpt", 2);
    save("run", 2, "net_rank_2-1_2.ckpt", 2);
    EXPECT_EQ(shown("run", "rank_0/w"), 1);
    EXPECT_EQ(shown("run", "rank_2/w"), 1);
}

TEST_F(MindSporeFolder, ANewerSaveThatSomeRankLacksIsSaid)
{
    for (const std::uint32_t rank : {0u, 1u})
        save("run", rank, fmt::format("net_rank_{}-1_1.ckpt", rank), 1);
    save("run", 0, "net_rank_0-1_2.ckpt", 2);
    EXPECT_THAT(findings("run"), Contains(AllOf(HasSubstr("incomplete-save"), HasSubstr("net_rank_*-1_2.ckpt is newer, and rank 1 lacks it"))));
    save("run", 1, "net_rank_1-1_2.ckpt", 2);
    EXPECT_THAT(findings("run"), Not(Contains(HasSubstr("incomplete-save"))));
}

TEST_F(MindSporeFolder, RankFilesInOneFolderAreRanks)
{
    const MindSporeTestRun run = twoRanks();
    for (const std::uint32_t rank : {0u, 1u})
        writeBytes(path(fmt::format("flat/net_rank_{}.ckpt", rank)), run.fileOf(rank));
    run.writeStrategy(path("s.ckpt"));
    EXPECT_THAT(test::fullNamesOf(**open("flat")), Contains("rank_1/w"));
    const auto opened = open("flat", "s.ckpt");
    ASSERT_TRUE(opened.ok()) << opened.error().text();
    EXPECT_EQ((*opened)->tensor(test::tensorNamed(**opened, "w")).shape, (Shape{4, 3}));
    writeBytes(path("one/net_rank_3.ckpt"), run.fileOf(0));
    EXPECT_THAT(test::fullNamesOf(**open("one")), Contains("w"));
}

TEST_F(MindSporeFolder, OneRankOfManyAndAGapAreSaid)
{
    for (const std::uint32_t rank : {0u, 1u, 3u})
        save("run", rank, "net.ckpt", 1);
    EXPECT_THAT(findings("run/rank_1"), ElementsAre(AllOf(HasSubstr("one-of-many"), HasSubstr("2 more rank folders"))));
    EXPECT_THAT(findings("run"), Contains(AllOf(HasSubstr("missing-rank"), HasSubstr("no rank 2"), HasSubstr("up to 3"))));
    EXPECT_THAT(refusal("."), AllOf(HasSubstr("one below"), HasSubstr("run")));
}

TEST_F(MindSporeFolder, ADigitAtTheEndOfANameIsNoRankWhereAllRanksHaveIt)
{
    for (const std::uint32_t rank : {0u, 1u, 2u}) {
        save("run", rank, "gpt2-1_1.ckpt", 1);
        save("run", rank, "gpt2-5_1.ckpt", 5);
    }
    const auto opened = open("run");
    ASSERT_TRUE(opened.ok());
    EXPECT_THAT((*opened)->facts(), AllOf(Contains(testing::Pair("shown", "gpt2-5_1.ckpt")), Contains(testing::Pair("also here", "gpt2-1_1.ckpt"))));
    EXPECT_THAT(findings("run"), ElementsAre(HasSubstr("no-strategy")));
}

TEST_F(MindSporeFolder, AHarmedFileOfTheNewestSaveStaysItsFile)
{
    for (const std::uint32_t rank : {0u, 1u})
        for (const char* step : {"1_1", "2_1"})
            save("run", rank, fmt::format("net_rank_{}-{}.ckpt", rank, step), 1);
    std::fstream(path("run/rank_1/net_rank_1-2_1.ckpt"), std::ios::in | std::ios::out | std::ios::binary) << "\xff";
    EXPECT_THAT(findings("run"), Contains(AllOf(HasSubstr("unreadable-file"), HasSubstr("rank_1/net_rank_1-2_1.ckpt"))));
}

TEST_F(MindSporeFolder, TwoFoldersOfOneRankAreRefused)
{
    save("run", 0, "net.ckpt", 1);
    writeBytes(path("run/rank_1/net.ckpt"), ckptRecord("w", "Float32", {1}, floats({1})));
    writeBytes(path("run/rank_01/net.ckpt"), ckptRecord("w", "Float32", {1}, floats({2})));
    EXPECT_THAT(refusal("run"), AllOf(HasSubstr("rank_01"), HasSubstr("both of rank 1")));
}

TEST_F(MindSporeFolder, NamesWithAStepWinOverNamesWithoutAndRegularOnesOverBreakpoints)
{
    save("run", 0, "net_0.ckpt", 1);
    save("run", 0, "net-1_1_breakpoint.ckpt", 2);
    EXPECT_EQ(shown("run", "rank_0/w"), 2);
    save("run", 0, "net-1_1.ckpt", 3);
    EXPECT_EQ(shown("run", "rank_0/w"), 3);
}

TEST_F(MindSporeFolder, OfTwoFilesOfOneStepSomebodyMustSayWhich)
{
    for (const std::uint32_t rank : {0u, 1u}) {
        save("run", rank, fmt::format("a_{}-1_1.ckpt", rank), 1);
        save("run", rank, fmt::format("b_{}-1_1.ckpt", rank), 2);
    }
    EXPECT_THAT(findings("run"), Contains(AllOf(HasSubstr("several-files"), HasSubstr("a_*-1_1.ckpt"), HasSubstr("b_*-1_1.ckpt"), HasSubstr("--tag"))));
    EXPECT_EQ(shown("run", "rank_1/w", "b_*-1_1.ckpt"), 2);
    const auto chosen = open("run", "", "b_*-1_1.ckpt");
    ASSERT_TRUE(chosen.ok());
    EXPECT_THAT(test::findingsOf(**chosen), Not(Contains(HasSubstr("several-files"))));
    save("run", 0, "a_0-1_2.ckpt", 3);
    save("run", 1, "a_1-1_2.ckpt", 3);
    EXPECT_THAT(findings("run"), Not(Contains(HasSubstr("several-files"))));
}

TEST_F(MindSporeFolder, OtherFilesOfTheFoldersAreNoWeights)
{
    save("run", 0, "net_rank_0-1_1.ckpt", 1);
    writeBytes(path("run/rank_0/net-graph.meta"), "x");
    writeBytes(path("run/rank_0/net_rank_0-1_2.ckpt.tmp"), ckptRecord("w", "Float32", {1}, floats({2})));
    writeBytes(path("run/rank_0/ckpt_strategy_rank_0-9_9.ckpt"), twoRanks().strategyBytes());
    EXPECT_EQ(shown("run", "rank_0/w"), 1);
}

TEST_F(MindSporeFolder, ARankFolderAndAFileOfItAreOneModel)
{
    save("run", 5, "net_rank_5-1_1.ckpt", 1);
    save("run", 5, "net_rank_5-1_2.ckpt", 2);
    EXPECT_EQ(shown("run", "rank_5/w"), 2);
    EXPECT_EQ(shown("run/rank_5", "w"), 2);
    EXPECT_EQ(shown("run/rank_5/net_rank_5-1_1.ckpt", "w"), 1);
    EXPECT_THAT(refusal("run/rank_5", "run/rank_5/net_rank_5-1_1.ckpt"), HasSubstr("one model"));
}

TEST_F(MindSporeFolder, FilesOfOtherProgramsAreLeftToTheirs)
{
    writeBytes(path("lightning/last.ckpt"), "PK\x03\x04 and more");
    writeBytes(path("random/a.ckpt"), "\x0a\x02hi there");
    for (const char* name : {"lightning", "random"})
        EXPECT_THAT(refusal(name), Not(HasSubstr("MindSpore"))) << name;
    writeBytes(path("empty.ckpt"), "");
    EXPECT_THAT(refusal("empty.ckpt"), HasSubstr("empty"));
    twoRanks().writeStrategy(path("strategy.ckpt"));
    EXPECT_THAT(refusal("strategy.ckpt"), AllOf(HasSubstr("strategy file"), HasSubstr("2 parameters")));
    twoRanks().writeStrategy(path("strategies/stage0.ckpt"));
    EXPECT_THAT(refusal("strategies"), AllOf(HasSubstr("strategy files and no weights"), HasSubstr("--source-strategy")));
    std::filesystem::create_directories(path("hollow/rank_0"));
    writeBytes(path("hollow/rank_0/readme.txt"), "");
    EXPECT_THAT(refusal("hollow"), Not(HasSubstr("opened")));
}

// ---- strategies ----

TEST_F(MindSporeFolder, WithoutAStrategyEachRankIsShownAndItIsSaid)
{
    twoRanks().write(path("run"));
    EXPECT_THAT(findings("run"), ElementsAre(AllOf(HasSubstr("no-strategy"), HasSubstr("--source-strategy"))));
    EXPECT_THAT(test::fullNamesOf(**open("run")), UnorderedElementsAre("rank_0/step", "rank_0/w", "rank_0/v", "rank_1/step", "rank_1/w", "rank_1/v"));
}

TEST_F(MindSporeFolder, TheStrategyBesideIsFound)
{
    twoRanks().write(path("output/checkpoint"));
    twoRanks().writeStrategy(path("output/strategy/ckpt_strategy_rank_0.ckpt"));
    for (const char* name : {"output", "output/checkpoint"}) {
        const auto opened = open(name);
        ASSERT_TRUE(opened.ok()) << opened.error().text();
        EXPECT_THAT(test::findingsOf(**opened), IsEmpty());
        EXPECT_EQ((*opened)->tensor(test::tensorNamed(**opened, "w")).shape, (Shape{4, 3}));
        EXPECT_TRUE((*opened)->modelFacts().contains("mindspore-strategy"));
    }
    twoRanks().write(path("run"));
    twoRanks().writeStrategy(path("run/merged.ckpt"));
    EXPECT_THAT(findings("run"), IsEmpty());
}

TEST_F(MindSporeFolder, AStrategyBesideThatDoesNotFitIsNotUsed)
{
    twoRanks().write(path("output/checkpoint"));
    save("output/checkpoint", 2, "net_rank_2.ckpt", 1);
    twoRanks().writeStrategy(path("output/strategy/ckpt_strategy_rank_0.ckpt"));
    EXPECT_THAT(findings("output"), Contains(AllOf(HasSubstr("strategy-beside"), HasSubstr("2 ranks"), HasSubstr("rank 2"))));
    EXPECT_THAT(test::fullNamesOf(**open("output")), Contains("rank_2/w"));
}

TEST_F(MindSporeFolder, AStrategyOfFewerRanksIsRefusedAndOneOfMoreMissesThem)
{
    twoRanks().write(path("run"));
    MindSporeTestRun one = twoRanks();
    one.devices = 1;
    one.tensors[1].layouts = {{0, MindSporeLayout{{1}, {{}, {}}, 0}}};
    one.tensors[2].layouts = {{0, MindSporeLayout{{1}, {{}}, 0}}};
    one.writeStrategy(path("one.ckpt"));
    EXPECT_THAT(refusal("run", "one.ckpt"), AllOf(HasSubstr("1 rank"), HasSubstr("rank 1")));
    MindSporeTestRun four = twoRanks();
    four.devices = 4;
    four.tensors[1].layouts = {{0, MindSporeLayout{{2, 2}, {{1}, {}}, 0}}};
    four.tensors[2].layouts = {{0, MindSporeLayout{{4}, {{}}, 0}}};
    four.writeStrategy(path("four.ckpt"));
    EXPECT_THAT(findings("run", "four.ckpt"), AllOf(Contains(HasSubstr("Rank 2")), Contains(HasSubstr("Rank 3"))));
    EXPECT_THAT(refusal("run", "nowhere.ckpt"), HasSubstr("nowhere.ckpt"));
}

TEST_F(MindSporeFolder, AMissingRankLeavesAHoleWhereNobodyElseHoldsItsSlice)
{
    twoRanks().write(path("run"));
    twoRanks().writeStrategy(path("s.ckpt"));
    std::filesystem::remove_all(path("run/rank_1"));
    const auto found = findings("run", "s.ckpt");
    EXPECT_THAT(found, Contains(AllOf(HasSubstr("missing-file"), HasSubstr("Rank 1"))));
    EXPECT_THAT(found, Contains(AllOf(HasSubstr("missing-slice"), HasSubstr("Rank 1 lacks 1 slice"), HasSubstr("w [2:4, 0:3]"))));
    EXPECT_THAT(found, Not(Contains(HasSubstr("v [")))); // rank 0 has it too
}

TEST_F(MindSporeFolder, ALostRankWhoseSlicesOthersHoldIsSaidToBe)
{
    MindSporeTestRun run = twoRanks();
    run.devices = 4;
    run.tensors[1].layouts = {{0, MindSporeLayout{{2, 2}, {{0}, {}}, 0}}};
    run.tensors[2].layouts = {{0, MindSporeLayout{{4}, {{}}, 0}}};
    run.write(path("run"));
    run.writeStrategy(path("s.ckpt"));
    std::filesystem::remove_all(path("run/rank_1"));
    EXPECT_THAT(findings("run", "s.ckpt"), UnorderedElementsAre(AllOf(HasSubstr("missing-file"), HasSubstr("--rank-file 1=PATH")), HasSubstr("held-by-others: All that rank 1 held")));
    std::filesystem::remove_all(path("run/rank_3"));
    EXPECT_THAT(findings("run", "s.ckpt"), AllOf(Contains(HasSubstr("missing-slice: Rank 1 lacks 1 slice")), Not(Contains(HasSubstr("held-by-others: All that rank 1 held")))));
}

TEST_F(MindSporeFolder, AStrategyOfAnotherRunIsRefused)
{
    twoRanks().write(path("run"));
    MindSporeTestRun other = twoRanks();
    for (test::MindSporeTensor& tensor : other.tensors)
        tensor.name = "other." + tensor.name;
    other.writeStrategy(path("s.ckpt"));
    EXPECT_THAT(refusal("run", "s.ckpt"), AllOf(HasSubstr("s.ckpt"), HasSubstr("another run's")));
}

TEST_F(MindSporeFolder, ShapesThatContradictTheStrategyAreSaid)
{
    twoRanks().write(path("run"));
    twoRanks().writeStrategy(path("s.ckpt"));
    writeBytes(path("run/rank_1/net_rank_1.ckpt"), ckptRecord("w", "Float32", {1, 3}, floats({1, 2, 3})) + ckptRecord("v", "Float16", {3}, "abcdef"));
    const auto found = findings("run", "s.ckpt");
    EXPECT_THAT(found, Contains(AllOf(HasSubstr("wrong-shape"), HasSubstr("rank 1 holds [1, 3] of w"), HasSubstr("[2, 3]"))));
    EXPECT_THAT(found, Contains(AllOf(HasSubstr("wrong-shape"), HasSubstr("rank 1 holds v as F16"), HasSubstr("F32"))));
    writeBytes(path("run/rank_0/net_rank_0.ckpt"), ckptRecord("w", "Float32", {3}, floats({1, 2, 3})));
    EXPECT_THAT(findings("run", "s.ckpt"), Contains(AllOf(HasSubstr("w by the strategy"), HasSubstr("s.ckpt"))));
}

// The strategy claims an optimizer shard that the accumulator has not (§3.2.1).
TEST_F(MindSporeFolder, AccumulatorsOfGradientsAreMeasuredByTheirWeights)
{
    MindSporeTestRun run = twoRanks();
    run.tensors = {{"w", "Float32", 4, {4, 3}, {{0, MindSporeLayout{{2}, {{}, {}}, -1}}}}, {"accu_grads.w", "Float32", 4, {4, 3}, {{0, MindSporeLayout{{2}, {{}, {}}, 0}}}}};
    run.write(path("run"));
    run.tensors[1].layouts.begin()->second.shardSize = -1;
    run.writeStrategy(path("s.ckpt"));
    const auto opened = open("run", "s.ckpt");
    ASSERT_TRUE(opened.ok()) << opened.error().text();
    EXPECT_THAT(test::findingsOf(**opened), IsEmpty());
    for (const char* name : {"w", "accu_grads.w"})
        EXPECT_EQ((*opened)->tensor(test::tensorNamed(**opened, name)).shape, (Shape{4, 3})) << name;
}

TEST_F(MindSporeFolder, WhatNoStrategyNamesIsTheLowestRanks)
{
    MindSporeTestRun run = twoRanks();
    run.write(path("run"));
    run.writeStrategy(path("s.ckpt"));
    const std::string first = test::ckptRecord("odd", "Float32", {2}, floats({1, 2}));
    writeBytes(path("run/rank_0/net_rank_0.ckpt"), run.fileOf(0) + first);
    writeBytes(path("run/rank_1/net_rank_1.ckpt"), run.fileOf(1) + ckptRecord("odd", "Float32", {1}, floats({7})));
    const auto opened = open("run", "s.ckpt");
    ASSERT_TRUE(opened.ok());
    EXPECT_EQ(test::floatsOf(*opened, "odd"), (std::vector<float>{1, 2}));
    EXPECT_THAT(test::findingsOf(**opened), ElementsAre(AllOf(HasSubstr("differs-between-ranks"), HasSubstr("odd"), HasSubstr("rank 1 holds F32 [1]"))));
}

TEST_F(MindSporeFolder, ReplicasMayBeStoredOnce)
{
    MindSporeTestRun run = twoRanks();
    run.write(path("run"));
    run.writeStrategy(path("s.ckpt"));
    const std::string v = ckptRecord("v", "Float32", {3}, MindSporeTestRun::valuesOf(run.tensors[2]));
    std::string less = run.fileOf(0);
    less.erase(less.find(v), v.size());
    writeBytes(path("run/rank_0/net_rank_0.ckpt"), less);
    const auto opened = open("run", "s.ckpt");
    ASSERT_TRUE(opened.ok());
    EXPECT_THAT(test::findingsOf(**opened), IsEmpty());
    EXPECT_EQ(test::floatsOf(*opened, "v").size(), 3u);
    EXPECT_THAT((*opened)->facts(), Contains(testing::Pair("redundancy removed", HasSubstr("1 copy"))));
    std::string neither = run.fileOf(1);
    neither.erase(neither.find(v), v.size());
    writeBytes(path("run/rank_1/net_rank_1.ckpt"), neither);
    EXPECT_THAT(findings("run", "s.ckpt"), Contains(AllOf(HasSubstr("listed-only"), HasSubstr("v")))); // nobody holds any of it
}

TEST_F(MindSporeFolder, AHarmedRankFileIsAFindingWithItsName)
{
    MindSporeTestRun run = twoRanks();
    run.write(path("run"));
    run.writeStrategy(path("s.ckpt"));
    std::filesystem::resize_file(path("run/rank_1/net_rank_1.ckpt"), run.fileOf(1).size() - 5);
    EXPECT_THAT(findings("run", "s.ckpt"), Contains(AllOf(HasSubstr("rank_1/net_rank_1.ckpt"), HasSubstr("v"), HasSubstr("truncated"))));
    std::filesystem::resize_file(path("run/rank_1/net_rank_1.ckpt"), 3);
    EXPECT_THAT(findings("run", "s.ckpt"), Contains(AllOf(HasSubstr("unreadable-file"), HasSubstr("Rank 1"))));
    std::filesystem::resize_file(path("run/rank_0/net_rank_0.ckpt"), 3); // what was in it is lost by name
    const auto opened = open("run", "s.ckpt");
    ASSERT_TRUE(opened.ok()) << opened.error().text();
    ASSERT_EQ((*opened)->lostTensors().size(), 2u);
    EXPECT_EQ((*opened)->lostTensors()[0].name, "w");
}

TEST_F(MindSporeFolder, StagesAreTheAxesOfTheirRanks)
{
    MindSporeTestRun run = twoRanks();
    run.stages = 2;
    run.tensors[2].layouts = {{1, MindSporeLayout{{2}, {{}}, 0}}};
    run.write(path("run"));
    run.writeStrategy(path("s.ckpt"));
    const auto opened = open("run", "s.ckpt");
    ASSERT_TRUE(opened.ok()) << opened.error().text();
    EXPECT_EQ((*opened)->topology().worldSize(), 4u);
    EXPECT_EQ((*opened)->topology().sizeOf(Axis::Pp), 2u);
    const Piece piece = (*opened)->pieces().at(idAt<PieceId>((*opened)->pieces().firstOf(test::tensorNamed(**opened, "v"))));
    EXPECT_EQ((*opened)->rankOfPiece(piece), 2u);
}

// ---- unified folders ----

TEST_F(MindSporeFolder, AUnifiedFolderIsWhatItsMapNames)
{
    std::filesystem::create_directories(path("u"));
    test::writeSafetensors(path("u/part0.safetensors"), {{"a", {2}, 1}, {"b", {1}, 3}});
    test::writeSafetensors(path("u/hyper_param.safetensors"), {{"step", {1}, 9}});
    for (const char* map : {R"({"a": "part0.safetensors", "b": "part0.safetensors"})", R"({"metadata": {"total_size": 12}, "weight_map": {"a": "part0.safetensors", "b": "part0.safetensors"}})"}) {
        writeBytes(path("u/param_name_map.json"), map);
        const auto opened = open("u");
        ASSERT_TRUE(opened.ok()) << opened.error().text();
        EXPECT_THAT(test::findingsOf(**opened), IsEmpty());
        EXPECT_THAT(test::fullNamesOf(**opened), UnorderedElementsAre("a", "b", "step"));
    }
    writeBytes(path("u/param_name_map.json"), R"({"a": "part0.safetensors", "c": "part0.safetensors", "d": "part1.safetensors"})");
    EXPECT_THAT(findings("u"), AllOf(Contains(AllOf(HasSubstr("missing-parameter"), HasSubstr("c lies in part0.safetensors"))), Contains(HasSubstr("part1.safetensors"))));
    test::writeSafetensors(path("u/part1.safetensors"), {{"a", {2}, 7}}); // the map says whose counts
    writeBytes(path("u/param_name_map.json"), R"({"a": "part1.safetensors", "b": "part0.safetensors"})");
    EXPECT_EQ(test::floatsOf(*open("u"), "a"), (std::vector<float>{7, 8}));
    writeBytes(path("u/param_name_map.json"), R"({"a": "../part0.safetensors"})");
    EXPECT_THAT(refusal("u"), AllOf(HasSubstr("param_name_map.json"), HasSubstr("outside")));
    writeBytes(path("u/param_name_map.json"), R"({"a": 5})");
    EXPECT_THAT(refusal("u"), HasSubstr("param_name_map.json"));
}

TEST_F(MindSporeFolder, EntriesThatAreNoTensorsAreMetadata)
{
    writeBytes(path("net.ckpt"), ckptRecord("w", "Float32", {1}, floats({1})) + test::ckptText("note", "hello") + ckptRecord("random_op", "random_op", {}, "state"));
    const auto opened = open("net.ckpt");
    ASSERT_TRUE(opened.ok()) << opened.error().text();
    EXPECT_THAT(test::fullNamesOf(**opened), ElementsAre("w"));
    ASSERT_EQ((*opened)->metadata().size(), 1u);
    ASSERT_NE((*opened)->metadata()[0].root.child("note"), nullptr);
    EXPECT_EQ((*opened)->metadata()[0].root.child("note")->value, "hello");
    EXPECT_EQ((*opened)->metadata()[0].root.child("random_op")->kind, MetaNode::Kind::Opaque);
}

} // namespace
} // namespace shardlens
