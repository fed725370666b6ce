#include "tests/app/captured_console.h"
#include "tests/support/temporary_folder.h"

#include "app/cli/commands.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include <cmath>
#include <filesystem>

namespace shardlens::cli {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;
using test::Answer;
using test::CapturedConsole;
using test::runShardlens;
using test::TemporaryFolder;
using testing::HasSubstr;
using testing::Not;

const std::string kCompared = SHARDLENS_SAMPLE;

json answerOf(std::vector<std::string> arguments, int exitCode = kExitDone)
{
    const Answer answer = runShardlens(std::move(arguments));
    EXPECT_EQ(answer.exitCode, exitCode) << answer.remarks;
    return json::parse(answer.results);
}

int runCancelled(std::vector<const char*> arguments)
{
    std::stop_source stop;
    stop.request_stop();
    JobContext job(stop.get_token());
    CapturedConsole console;
    CommandContext context{console.console(), job};
    arguments.insert(arguments.begin(), "shardlens");
    return runCommandLine(static_cast<int>(arguments.size()), arguments.data(), context);
}

TEST(Stats, AreOfEveryTensor)
{
    const json answer = answerOf({"stats", kCompared, "--json"});
    EXPECT_EQ(answer["schema"], 1);
    EXPECT_EQ(answer["tensors"].size(), 15u);
    const json& kernel = answer["tensors"]["kernel"];
    EXPECT_EQ(kernel["dtype"], "F32");
    EXPECT_EQ(kernel["values"], 30);
    EXPECT_LT(kernel["min"].get<double>(), kernel["mean"].get<double>());
    EXPECT_LT(kernel["mean"].get<double>(), kernel["max"].get<double>());
    EXPECT_EQ(kernel["nan"], 0);
    std::uint64_t sum = 0;
    for (const json& bin : kernel["histogram"])
        sum += bin["count"].get<std::uint64_t>();
    EXPECT_EQ(sum, 30u);
    EXPECT_TRUE(answer["tensors"]["nothing"]["min"].is_null());
    EXPECT_TRUE(answer["tensors"]["nothing"]["histogram"].empty());
}

TEST(Stats, AreAskedForByNamePatternAndKind)
{
    EXPECT_EQ(answerOf({"stats", kCompared, "up.weight", "--json"})["tensors"].size(), 1u);
    EXPECT_EQ(answerOf({"stats", kCompared, "--include", "^up\\.", "--json"})["tensors"].size(), 2u);
    EXPECT_TRUE(answerOf({"stats", kCompared, "--select", "optimizer", "--json"})["tensors"].contains("up.weight/exp_avg"));
}

TEST(Stats, ForPeopleShowALineATensorAndBarsForOne)
{
    const Answer all = runShardlens({"stats", kCompared});
    EXPECT_THAT(all.results, HasSubstr("15 names"));
    EXPECT_THAT(all.results, HasSubstr("zeros"));
    const Answer one = runShardlens({"stats", kCompared, "up.weight"});
    EXPECT_THAT(one.results, HasSubstr("up.weight  F32 [11, 6]"));
    EXPECT_THAT(one.results, HasSubstr("█"));
    EXPECT_EQ(one.exitCode, kExitDone);
}

TEST(Stats, RefuseWhatTheyCannotDo)
{
    EXPECT_THAT(runShardlens({"stats", kCompared, "up.wei"}).remarks, HasSubstr("close to it: up.weight"));
    EXPECT_EQ(runShardlens({"stats", kCompared, "up.weight", "--include", "x"}).exitCode, kExitRefused);
    EXPECT_THAT(runShardlens({"stats", kCompared, "--include", "("}).remarks, HasSubstr("does not compile"));
    EXPECT_EQ(runShardlens({"stats", "/nowhere/at/all"}).exitCode, kExitRefused);
    EXPECT_EQ(runCancelled({"stats", kCompared.c_str()}), kExitCancelled);
}

class Diff : public testing::Test {
protected:
    // The sample, converted: other files, another format, the same tensors.
    [[nodiscard]] std::string converted(const std::vector<std::string>& options = {}) const
    {
        const std::string out = m_folder.file("model.safetensors");
        std::vector<std::string> arguments{"convert", kCompared, out, "--overwrite"};
        arguments.insert(arguments.end(), options.begin(), options.end());
        EXPECT_EQ(runShardlens(arguments).exitCode, kExitDone);
        return out;
    }

    TemporaryFolder m_folder;
};

TEST_F(Diff, FindsNothingBetweenFormats)
{
    const json answer = answerOf({"diff", kCompared, converted(), "--json"});
    EXPECT_EQ(answer["equal"], true);
    EXPECT_EQ(answer["counts"]["equal"], 15);
    EXPECT_EQ(answer["tensors"].size(), 15u);
    EXPECT_EQ(answer["tensors"][0]["state"], "equal");
    EXPECT_EQ(answer["tensors"][0]["values"]["differing"], 0);
    EXPECT_TRUE(answer["suggestion"].is_null());
    EXPECT_FALSE(answer["arguments"].empty());
    EXPECT_THAT(runShardlens({"diff", kCompared, kCompared}).results, HasSubstr("Equal. 15 equal"));
}

TEST_F(Diff, TellsWhatACastDid)
{
    const std::string narrow = converted({"--dtype", "BF16"});
    const json answer = answerOf({"diff", kCompared, narrow, "--json"}, kExitFinding);
    EXPECT_EQ(answer["equal"], false);
    for (const json& row : answer["tensors"])
        if (row["name"] == "up.weight") {
            EXPECT_EQ(row["state"], "values");
            EXPECT_EQ(row["a"]["dtype"], "F32");
            EXPECT_EQ(row["b"]["dtype"], "BF16");
            EXPECT_GT(row["values"]["max_rel"].get<double>(), 0);
            EXPECT_LT(row["values"]["max_rel"].get<double>(), std::ldexp(1, -8));
            EXPECT_GT(row["values"]["cosine"].get<double>(), 0.99999);
            EXPECT_EQ(row["values"]["first"].size(), 2u);
        }
    const Answer text = runShardlens({"diff", kCompared, narrow});
    EXPECT_EQ(text.exitCode, kExitFinding);
    EXPECT_THAT(text.results, HasSubstr("values differ"));
    EXPECT_THAT(text.results, HasSubstr("Different."));
    EXPECT_EQ(runShardlens({"diff", kCompared, narrow, "--relative-tolerance", "0.004", "--ignore-dtype"}).exitCode, kExitDone);
    EXPECT_EQ(runShardlens({"diff", kCompared, narrow, "--relative-tolerance", "0.004"}).exitCode, kExitFinding) << "the dtype still differs";
}

TEST_F(Diff, ListsWhatOnlyOneHas)
{
    const Answer answer = runShardlens({"diff", kCompared, converted({"--exclude", "^up\\."})});
    EXPECT_EQ(answer.exitCode, kExitFinding);
    EXPECT_THAT(answer.results, HasSubstr("only in A"));
    EXPECT_THAT(answer.results, HasSubstr("2 only in A"));
    EXPECT_EQ(runShardlens({"diff", kCompared, converted({"--exclude", "^up\\."}), "--exclude", "^up\\."}).exitCode, kExitDone);
}

TEST_F(Diff, SuggestsARuleWhereNoNameIsShared)
{
    const Answer apart = runShardlens({"diff", kCompared, converted(), "--rename", "^=x.", "--rename", "^x\\.=y."});
    EXPECT_EQ(apart.exitCode, kExitFinding);
    EXPECT_THAT(apart.results, HasSubstr("A and B share no name. With --rename '^y\\.=' they share 15 names."));
    EXPECT_EQ(runShardlens({"diff", kCompared, converted(), "--rename", "^=x.", "--rename", "^x\\.=y.", "--rename", "^y\\.="}).exitCode, kExitDone);
}

TEST_F(Diff, RefusesWhatItCannotDo)
{
    EXPECT_EQ(runShardlens({"diff", kCompared}).exitCode, kExitRefused);
    EXPECT_EQ(runShardlens({"diff", kCompared, "/nowhere/at/all"}).exitCode, kExitRefused);
    EXPECT_THAT(runShardlens({"diff", kCompared, kCompared, "--rename", "nothing"}).remarks, HasSubstr("is not FROM=TO"));
    EXPECT_THAT(runShardlens({"diff", kCompared, kCompared, "--rename", ".*=x"}).remarks, HasSubstr("the rename rules make both"));
    EXPECT_EQ(runShardlens({"diff", kCompared, kCompared, "--tolerance", "-1"}).exitCode, kExitRefused);
    EXPECT_EQ(runShardlens({"diff", kCompared, kCompared, "--tag-b", "absent"}).exitCode, kExitRefused);
    EXPECT_EQ(runCancelled({"diff", kCompared.c_str(), kCompared.c_str()}), kExitCancelled);
}

} // namespace
} // namespace shardlens::cli
