#include "tests/app/captured_console.h"
#include "tests/core/layout/strategy_bytes.h"
#include "tests/support/mindspore_test_run.h"
#include "tests/support/temporary_folder.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include <filesystem>
#include <fstream>

namespace shardlens::cli {
namespace {

using nlohmann::json;
using test::Answer;
using test::runShardlens;
using test::wireStrategy;
using testing::AllOf;
using testing::HasSubstr;
using testing::Not;

// The worked example of formats/mindspore.md §7.3: two stages of 2x2 devices to one of 4.
class StrategyCommand : public testing::Test {
protected:
    void SetUp() override
    {
        std::filesystem::create_directories(m_folder.path() / "stages");
        write("stages/rank_0.ckpt", wireStrategy({{"col", {2, 2}, {{0, -1}}}, {"opt", {2, 2}, {{0, -1}}, 2, -1}}, 0));
        write("stages/rank_1.ckpt", wireStrategy({{"opt", {2, 2}, {{0, -1}}, 2, -1}, {"col", {2, 2}, {{0, -1}}}}, 0));
        write("stages/rank_4.ckpt", wireStrategy({{"row", {2, 2}, {{-1, 0}}}}, 1));
        write("target.ckpt", wireStrategy({{"col", {4}, {{0, -1}}}, {"row", {4}, {{-1, 0}}}}));
    }
    void write(const std::string& name, const std::string& bytes) const { std::ofstream(m_folder.file(name), std::ios::binary) << bytes; }
    [[nodiscard]] std::string at(const std::string& name) const { return m_folder.file(name); }
    [[nodiscard]] std::string bytesOf(const std::string& name) const
    {
        std::ifstream file(at(name), std::ios::binary);
        return {std::istreambuf_iterator<char>(file), {}};
    }
    [[nodiscard]] std::size_t filesHere() const
    {
        return static_cast<std::size_t>(std::distance(std::filesystem::directory_iterator(m_folder.path()), std::filesystem::directory_iterator()));
    }

    test::TemporaryFolder m_folder;
};

TEST_F(StrategyCommand, MergesStages)
{
    const Answer people = runShardlens({"strategy", "merge", at("stages"), at("merged.ckpt")});
    EXPECT_EQ(people.exitCode, 0) << people.remarks;
    EXPECT_THAT(people.results, AllOf(HasSubstr("2 stages of 4 devices, 3 parameters"), HasSubstr("skipped rank_1.ckpt: stage 0 again, which rank_0.ckpt has")));
    const json shown = json::parse(runShardlens({"strategy", "show", at("merged.ckpt"), "--json"}).results);
    EXPECT_EQ(shown.at("merged"), true);
    EXPECT_EQ(shown.at("current_stage"), 1);
    EXPECT_EQ(shown.at("world_size"), 8);
    ASSERT_EQ(shown.at("parameters").size(), 3u);
    EXPECT_EQ(shown.at("parameters").at(2).at("name"), "row");
    EXPECT_EQ(shown.at("parameters").at(2).at("stage"), 1);
    EXPECT_EQ(shown.at("operators").size(), 2u);
    const std::string before = bytesOf("merged.ckpt");
    const Answer again = runShardlens({"strategy", "merge", at("stages"), at("merged.ckpt")});
    EXPECT_EQ(again.exitCode, 2);
    EXPECT_THAT(again.remarks, HasSubstr("it exists; choose another name, or replace it with --overwrite."));
    const json replaced = json::parse(runShardlens({"strategy", "merge", at("stages"), at("merged.ckpt"), "--overwrite", "--json"}).results);
    EXPECT_EQ(replaced.at("stages").at(1).at("file"), "rank_4.ckpt");
    EXPECT_EQ(replaced.at("skipped").at(0).at("file"), "rank_1.ckpt");
    EXPECT_EQ(replaced.at("bytes"), before.size());
    EXPECT_EQ(bytesOf("merged.ckpt"), before);
    EXPECT_EQ(filesHere(), 3u); // nothing hidden is left
}

TEST_F(StrategyCommand, MergesIntoJson)
{
    const Answer people = runShardlens({"strategy", "merge", at("stages"), at("merged.json")});
    EXPECT_EQ(people.exitCode, 0);
    EXPECT_THAT(people.remarks, HasSubstr("3 parameters without tensor_shape"));
    const json merged = json::parse(bytesOf("merged.json"));
    EXPECT_EQ(merged.at("parallel_layout_item").at("1-row").at("tensor_map"), json::parse("[-1, 0]"));
}

TEST_F(StrategyCommand, WritesNothingWhereItRefuses)
{
    write("weights.ckpt", "not a strategy");
    const Answer foreign = runShardlens({"strategy", "merge", at("stages"), at("weights.ckpt"), "--overwrite"});
    EXPECT_EQ(foreign.exitCode, 2);
    EXPECT_THAT(foreign.remarks, HasSubstr("is no strategy file, so --overwrite does not replace it"));
    EXPECT_EQ(bytesOf("weights.ckpt"), "not a strategy");
    write("stages/other.json", "{}");
    const Answer both = runShardlens({"strategy", "merge", at("stages"), at("merged.ckpt"), "--json"});
    EXPECT_EQ(both.exitCode, 2);
    EXPECT_THAT(json::parse(both.results).at("error").at("text").get<std::string>(), HasSubstr("other.json"));
    EXPECT_FALSE(std::filesystem::exists(at("merged.ckpt")));
    EXPECT_THAT(runShardlens({"strategy", "merge", at("nowhere"), at("merged.ckpt")}).remarks, HasSubstr("nowhere"));
}

TEST_F(StrategyCommand, ListsTheRanksThatMindSporeOpens)
{
    const json answer = json::parse(runShardlens({"strategy", "ranks", "--source-strategy", at("stages"), "--strategy", at("target.ckpt"), "--json"}).results);
    EXPECT_EQ(answer.at("schema"), 1);
    EXPECT_EQ(answer.at("ranks"), json::parse(R"({"0": [5, 4, 1, 0], "1": [5, 4, 1, 0], "2": [7, 6, 3, 2], "3": [7, 6, 3, 2]})"));
    const json one = json::parse(runShardlens({"strategy", "ranks", "--rank", "2", "--source-strategy", at("stages"), "--strategy", at("target.ckpt"), "--json"}).results);
    EXPECT_EQ(one.at("ranks"), json::parse(R"({"2": [7, 6, 3, 2]})"));
    const json whole = json::parse(runShardlens({"strategy", "ranks", "--source-strategy", at("stages"), "--json"}).results);
    EXPECT_EQ(whole.at("ranks"), json::parse(R"({"0": [7, 6, 5, 4, 3, 2, 1, 0]})"));
    const json from = json::parse(runShardlens({"strategy", "ranks", "--strategy", at("target.ckpt"), "--json"}).results);
    EXPECT_EQ(from.at("ranks"), json::parse(R"({"0": [0], "1": [0], "2": [0], "3": [0]})"));
    const Answer people = runShardlens({"strategy", "ranks", "--source-strategy", at("stages"), "--strategy", at("target.ckpt")});
    EXPECT_THAT(people.results, AllOf(HasSubstr("From 2 stages of 4 devices to 1 stage of 4 devices:"), HasSubstr("0, 1              4  5, 4, 1, 0")));
}

TEST_F(StrategyCommand, RefusesRanksThatThereAreNot)
{
    const Answer beyond = runShardlens({"strategy", "ranks", "--rank", "4", "--source-strategy", at("stages"), "--strategy", at("target.ckpt")});
    EXPECT_EQ(beyond.exitCode, 2);
    EXPECT_THAT(beyond.remarks, HasSubstr("rank 4 is asked for, and the target has ranks 0 to 3."));
    EXPECT_EQ(runShardlens({"strategy", "ranks", "--rank", "-1", "--strategy", at("target.ckpt")}).exitCode, 2);
    EXPECT_THAT(runShardlens({"strategy", "ranks"}).remarks, HasSubstr("give --source-strategy, --strategy or both."));
    EXPECT_THAT(runShardlens({"strategy", "ranks", "--strategy", at("stages/rank_4.ckpt")}).remarks, HasSubstr("stage 0 is missing"));
    EXPECT_THAT(runShardlens({"strategy", "show", at("target.ckpt"), "--rank", "4"}).remarks, HasSubstr("there are ranks 0 to 3."));
}

TEST_F(StrategyCommand, ShowsHowParametersAreCut)
{
    const Answer people = runShardlens({"strategy", "show", at("stages")});
    EXPECT_EQ(people.exitCode, 0);
    EXPECT_THAT(people.results, AllOf(HasSubstr("MindSpore strategy, 2 stages of 4 devices, merged"), HasSubstr("dimension 0 over 2, optimizer shard over 2"), HasSubstr("[-1, 0]")));
    const json answer = json::parse(runShardlens({"strategy", "show", at("stages"), "--json", "--parameter", "^opt$"}).results);
    ASSERT_EQ(answer.at("parameters").size(), 1u);
    EXPECT_EQ(answer.at("encoding"), "protobuf");
    const json& opt = answer.at("parameters").at(0);
    EXPECT_EQ(opt.at("dev_matrix"), json::parse("[2, 2]"));
    EXPECT_EQ(opt.at("tensor_map"), json::parse("[[0], []]"));
    EXPECT_EQ(opt.at("opt_weight_shard_size"), -1);
    EXPECT_EQ(opt.at("slices"), 4);
    EXPECT_EQ(opt.at("copies"), 1);
    EXPECT_EQ(opt.at("tensor_shape"), nullptr);
    EXPECT_THAT(runShardlens({"strategy", "show", at("stages"), "--parameter", "nothing"}).remarks, HasSubstr("no parameter matches nothing."));
    EXPECT_EQ(runShardlens({"strategy", "show", at("stages"), "--parameter", "("}).exitCode, 2);
}

TEST_F(StrategyCommand, ShowsOneRowForWhatIsCutAlikeAndAllOnDemand)
{
    write("many.ckpt", wireStrategy({{"a10", {2, 2}, {{0, -1}}}, {"a9", {2, 2}, {{0, -1}}}, {"b", {2, 2}, {{-1, 0}}}}));
    const Answer groups = runShardlens({"strategy", "show", at("many.ckpt")});
    EXPECT_THAT(groups.results, AllOf(HasSubstr("2  a9"), HasSubstr("dimension 1 over 2"), HasSubstr("--all"), Not(HasSubstr("a10"))));
    const Answer all = runShardlens({"strategy", "show", at("many.ckpt"), "--all"});
    EXPECT_LT(all.results.find("a9"), all.results.find("a10"));
}

TEST_F(StrategyCommand, InspectKnowsStrategies)
{
    for (const char* name : {"target.ckpt", "stages"}) {
        const Answer people = runShardlens({"inspect", at(name)});
        EXPECT_EQ(people.exitCode, 0) << people.remarks;
        EXPECT_THAT(people.results, HasSubstr("MindSpore strategy"));
        EXPECT_EQ(json::parse(runShardlens({"inspect", at(name), "--json"}).results).at("format"), "mindspore-strategy");
    }
    const Answer listed = runShardlens({"list", at("target.ckpt")});
    EXPECT_EQ(listed.exitCode, 2);
    EXPECT_THAT(listed.remarks, AllOf(HasSubstr("strategy file for 2 parameters"), HasSubstr("--source-strategy"), HasSubstr("strategy show")));
}

TEST_F(StrategyCommand, RankFilesMayBeSeveral)
{
    test::MindSporeTestRun run;
    run.devices = 3;
    run.tensors = {{"w", "Int8", 1, {3}, {{0, test::MindSporeLayout{{3}, {{0}}, 0}}}}};
    run.write(at("run"));
    run.writeStrategy(at("s.ckpt"));
    for (const char* rank : {"1", "2"})
        std::filesystem::rename(at("run/rank_" + std::string(rank)), at("spare" + std::string(rank)));
    const auto arguments = [&](const std::string& first, const std::string& second) {
        return runShardlens({"verify", at("run"), "--source-strategy", at("s.ckpt"), "--rank-file", first, "--rank-file", second});
    };
    const Answer whole = arguments("1=" + at("spare1/net_rank_1.ckpt"), "2=" + at("spare2/net_rank_2.ckpt"));
    EXPECT_EQ(whole.exitCode, 0) << whole.results << whole.remarks;
    for (const char* wrong : {"2", "x=y", "2=", "1=again"}) {
        const Answer refused = arguments("1=" + at("spare1/net_rank_1.ckpt"), wrong);
        EXPECT_EQ(refused.exitCode, 2) << wrong;
        EXPECT_THAT(refused.remarks, HasSubstr("--rank-file")) << wrong;
    }
}

TEST_F(StrategyCommand, ShowsWhatARankHolds)
{
    const Answer people = runShardlens({"strategy", "show", at("stages"), "--rank", "2"});
    EXPECT_THAT(people.results, AllOf(HasSubstr("rank 2: stage 0, device 2 of 4"), HasSubstr("part 2 of 4 along 0"), HasSubstr("0, 2"), Not(HasSubstr("row"))));
    const json answer = json::parse(runShardlens({"strategy", "show", at("stages"), "--rank", "7", "--json"}).results);
    ASSERT_EQ(answer.at("parameters").size(), 1u);
    EXPECT_EQ(answer.at("parameters").at(0).at("held").at("index"), json::parse("[0, 1]"));
    EXPECT_EQ(answer.at("parameters").at(0).at("held").at("same_slice"), json::parse("[5, 7]"));
    EXPECT_EQ(answer.at("parameters").at(0).at("held").at("region"), nullptr);
    write("shaped.json", R"({"current_stage": 1, "parallel_layout_item": {"w": {"dev_matrix": [2, 2], "tensor_map": [0, -1], "tensor_shape": [8, 4], "field": 0,
                             "opt_weight_shard_step": 2, "opt_weight_shard_size": -1}, "odd": {"dev_matrix": [4], "tensor_map": [0], "tensor_shape": [6], "field": 0,
                             "opt_weight_shard_step": 0, "opt_weight_shard_size": 0}}, "parallel_strategy_item": {"Op": {"parallel_strategy": [], "stage": 0}}})");
    const Answer shaped = runShardlens({"strategy", "show", at("shaped.json"), "--rank", "3"});
    EXPECT_THAT(shaped.results, AllOf(HasSubstr("[6:8, 0:4] of [8, 4]"), HasSubstr("dimension 0 is 6 and not divisible by 4")));
    const json boxes = json::parse(runShardlens({"strategy", "show", at("shaped.json"), "--rank", "3", "--json"}).results);
    EXPECT_EQ(boxes.at("parameters").at(0).at("held").at("region"), json::parse(R"({"offset": [6, 0], "extent": [2, 4]})"));
}

TEST_F(StrategyCommand, SaysWhatIsNoStrategy)
{
    write("weights.ckpt", test::fromHex("0a 15 0a 04 73 74 65 70 12 0d 12 05 49 6e 74 33 32 1a 04 07 00 00 00"));
    const Answer weights = runShardlens({"strategy", "show", at("weights.ckpt")});
    EXPECT_EQ(weights.exitCode, 2);
    EXPECT_THAT(weights.remarks, HasSubstr("weights.ckpt: it is a weights file, not a strategy."));
    EXPECT_EQ(runShardlens({"strategy"}).exitCode, 2);
    EXPECT_THAT(runShardlens({"strategy", "ranks", "--help"}).results, HasSubstr("rank_list_for_transform"));
}

} // namespace
} // namespace shardlens::cli
