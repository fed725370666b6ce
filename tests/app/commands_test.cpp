#include "tests/app/captured_console.h"
#include "tests/core/io/refused_call.h"
#include "tests/support/temporary_folder.h"

#include "core/base/endian.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include <cerrno>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <sys/syscall.h>

namespace shardlens::cli {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;
using test::Answer;
using test::kNoFilter;
using test::runShardlens;
using test::runWhereCallFails;
using test::TemporaryFolder;
using testing::AllOf;
using testing::ContainsRegex;
using testing::HasSubstr;
using testing::Not;

const std::string kSample = SHARDLENS_SAMPLE;

std::string contentOf(const fs::path& file)
{
    std::ifstream in(file, std::ios::binary);
    std::ostringstream out;
    out << in.rdbuf();
    return out.str();
}

json answerTo(std::vector<std::string> arguments)
{
    const Answer answer = runShardlens(std::move(arguments));
    EXPECT_EQ(answer.remarks, "");
    return json::parse(answer.results);
}

void expectLinesFit(const std::string& text)
{
    std::istringstream in(text);
    for (std::string line; std::getline(in, line);)
        EXPECT_LE(displayWidth(line), 100u) << line;
}

class EveryCommand : public testing::TestWithParam<const char*> {};

TEST_P(EveryCommand, HasHelpWithAnExampleThatNamesIt)
{
    const Answer answer = runShardlens({GetParam(), "--help"});
    EXPECT_EQ(answer.exitCode, 0);
    EXPECT_THAT(answer.results, HasSubstr(std::string("Example: shardlens ") + GetParam()));
    EXPECT_THAT(answer.results, HasSubstr(std::string("Usage: shardlens ") + GetParam()));
}

TEST_P(EveryCommand, RefusesAnUnknownOptionWithASentence)
{
    const Answer answer = runShardlens({GetParam(), "--no-such-option"});
    EXPECT_EQ(answer.exitCode, 2);
    EXPECT_EQ(answer.results, "");
    EXPECT_THAT(answer.remarks, ContainsRegex("^error: .*\\.\n$"));
}

INSTANTIATE_TEST_SUITE_P(Commands, EveryCommand,
                         testing::Values("inspect", "list", "layout", "show", "stats", "digest", "verify", "scan", "diff", "convert", "run", "partition", "sdloader", "formats", "rules", "devices"),
                         [](const auto& row) { return std::string(row.param); });

TEST(Program, SaysItsVersionAndWhatIsMissing)
{
    EXPECT_THAT(runShardlens({"--version"}).results, ContainsRegex("^shardlens [0-9]+\\.[0-9]+\\.[0-9]+\n$"));
    EXPECT_EQ(runShardlens({}).exitCode, 2);
    EXPECT_THAT(runShardlens({"no-such-command"}).remarks, HasSubstr("no command is named no-such-command"));
    EXPECT_THAT(runShardlens({"list", kSample, "--what", "1"}).remarks, HasSubstr("not expected here: --what 1"));
}

TEST(Inspect, TellsPeopleWhatItIs)
{
    const Answer answer = runShardlens({"inspect", kSample, "-v"});
    EXPECT_EQ(answer.exitCode, 0);
    EXPECT_THAT(answer.results,
                AllOf(HasSubstr("DeepSpeed ZeRO-2"), HasSubstr("global_step3"), HasSubstr("data parallel 3"), HasSubstr("exp_avg_sq"),
                      HasSubstr("zero_pp_rank_2_mp_rank_00_optim_states.pt"), HasSubstr("need 240 elements, have 240")));
    expectLinesFit(answer.results);
}

TEST(Inspect, AnswersInJson)
{
    const json answer = answerTo({"inspect", kSample, "--json"});
    EXPECT_EQ(answer.at("schema"), 1);
    EXPECT_EQ(answer.at("format"), "deepspeed");
    EXPECT_EQ(answer.at("topology").at("world_size"), 3);
    EXPECT_EQ(answer.at("files").size(), 4u);
    EXPECT_EQ(answer.at("tied").at(0), (json{{"name", "head.weight"}, {"tied_to", "embed.weight"}}));
    std::uint64_t bytes = 0;
    for (const json& file : answer.at("files"))
        bytes += file.at("bytes").get<std::uint64_t>();
    EXPECT_EQ(answer.at("bytes"), bytes);
    EXPECT_EQ(answer.at("metadata").size(), 4u);
    EXPECT_THAT(answer.at("metadata").dump(), HasSubstr("global_steps"));
}

TEST(List, FiltersNamesInEveryForm)
{
    const json all = answerTo({"list", kSample, "--json"}).at("tensors");
    const json some = answerTo({"list", kSample, "--filter", "bias/exp_avg$", "--json"}).at("tensors");
    EXPECT_GT(all.size(), some.size());
    ASSERT_EQ(some.size(), 3u);
    EXPECT_EQ(some.at(0).at("name"), "norm.bias/exp_avg");
    const Answer csv = runShardlens({"list", kSample, "--filter", "bias/exp_avg$", "--csv"});
    EXPECT_EQ(
        csv.results,
        "name,role,dtype,shape,bytes,pieces,tied_to\nnorm.bias/exp_avg,exp_avg,F32,[6],24,2,\nup.bias/exp_avg,exp_avg,F32,[11],44,2,\n"
        "down.bias/exp_avg,exp_avg,F32,[6],24,1,\n");
    const Answer people = runShardlens({"list", kSample});
    expectLinesFit(people.results);
    EXPECT_THAT(people.results, HasSubstr("head.weight"));
    EXPECT_EQ(runShardlens({"list", kSample, "--json", "--csv"}).exitCode, 2);
}

TEST(Layout, PiecesAddUpAndTheirBytesAreTheValues)
{
    const json answer = answerTo({"layout", kSample, "embed.weight", "--json"});
    EXPECT_EQ(answer.at("missing_values"), 0);
    std::uint64_t at = 0;
    std::string bytes;
    for (const json& piece : answer.at("pieces")) {
        EXPECT_EQ(piece.at("region").at("begin"), at);
        at = piece.at("region").at("end").get<std::uint64_t>();
        const std::string file = contentOf(fs::path(kSample) / "global_step3" / piece.at("file").get<std::string>());
        bytes += file.substr(piece.at("offset").get<std::size_t>(), piece.at("length").get<std::size_t>());
    }
    EXPECT_EQ(at, 78u);
    TemporaryFolder folder;
    ASSERT_EQ(runShardlens({"show", kSample, "embed.weight", "--out", folder.file("w.npy")}).exitCode, 0);
    const std::string npy = contentOf(folder.file("w.npy"));
    ASSERT_GT(npy.size(), bytes.size());
    EXPECT_EQ(npy.substr(npy.size() - bytes.size()), bytes);
    EXPECT_EQ((npy.size() - bytes.size()) % 64, 0u);
}

TEST(Layout, DrawsAPictureOnceAndNeverOverAFile)
{
    TemporaryFolder folder;
    const std::string picture = folder.file("w.svg");
    ASSERT_EQ(runShardlens({"layout", kSample, "embed.weight", "--svg", picture}).exitCode, 0);
    const std::string svg = contentOf(picture);
    EXPECT_THAT(svg, AllOf(testing::StartsWith("<svg "), HasSubstr("rank 0"), HasSubstr("rank 1"), testing::EndsWith("</svg>\n")));
    const Answer again = runShardlens({"layout", kSample, "embed.weight", "--svg", picture});
    EXPECT_EQ(again.exitCode, 2);
    EXPECT_THAT(again.remarks, HasSubstr("exists"));
    EXPECT_EQ(contentOf(picture), svg);
}

// NFS and FUSE, which know no flags of renameat2.
TEST(Layout, DrawsAPictureWhereOnlyPlainRenamesWork)
{
    TemporaryFolder folder;
    const std::string picture = folder.file("w.svg");
    const int answer = runWhereCallFails(SYS_renameat2, EINVAL, [&] {
        EXPECT_EQ(runShardlens({"layout", kSample, "embed.weight", "--svg", picture}).exitCode, 0);
        EXPECT_EQ(runShardlens({"layout", kSample, "embed.weight", "--svg", picture}).exitCode, 2);
    });
    if (answer == kNoFilter)
        GTEST_SKIP() << "Skipped: system calls cannot be made to fail here";
    EXPECT_EQ(answer, 0);
    EXPECT_THAT(contentOf(picture), testing::EndsWith("</svg>\n"));
}

TEST(Layout, SuggestsNamesThatAreClose)
{
    const Answer answer = runShardlens({"layout", kSample, "norm"});
    EXPECT_EQ(answer.exitCode, 2);
    EXPECT_THAT(answer.remarks, AllOf(HasSubstr("no tensor is named norm"), HasSubstr("norm.weight")));
    EXPECT_THAT(runShardlens({"layout", kSample, "model.embed.weight"}).remarks, HasSubstr("close to it: embed.weight"));
    EXPECT_THAT(runShardlens({"layout", kSample, "embde.weight"}).remarks, HasSubstr("close to it: embed.weight"));
    EXPECT_THAT(runShardlens({"layout", kSample, "nothing like it"}).remarks, HasSubstr("`shardlens list` shows the names"));
    EXPECT_EQ(runShardlens({"layout", kSample, "head.weight"}).exitCode, 0) << "a tied name";
}

TEST(Show, PrintsThePartThatIsAsked)
{
    TemporaryFolder folder;
    ASSERT_EQ(runShardlens({"show", kSample, "embed.weight", "--slice", "2:4,-2:", "--out", folder.file("part.csv")}).exitCode, 0);
    ASSERT_EQ(runShardlens({"show", kSample, "embed.weight", "--out", folder.file("all.csv")}).exitCode, 0);
    std::istringstream part(contentOf(folder.file("part.csv")));
    std::istringstream all(contentOf(folder.file("all.csv")));
    std::vector<std::string> rows;
    for (std::string line; std::getline(all, line);)
        rows.push_back(line);
    ASSERT_EQ(rows.size(), 13u);
    for (std::size_t row = 2; row < 4; ++row) {
        std::string line;
        ASSERT_TRUE(std::getline(part, line));
        EXPECT_THAT(rows[row], testing::EndsWith("," + line));
        EXPECT_EQ(std::count(line.begin(), line.end(), ','), 1);
    }
    expectLinesFit(runShardlens({"show", kSample, "embed.weight"}).results);
    EXPECT_EQ(runShardlens({"show", kSample, "embed.weight", "--slice", "99"}).exitCode, 2);
    EXPECT_EQ(runShardlens({"show", kSample, "embed.weight", "--out", folder.file("w.txt")}).exitCode, 2);
}

TEST(Digest, AConvertedModelHasTheSameDigests)
{
    TemporaryFolder folder;
    for (const std::string name : {"model.safetensors", "model.pt"}) {
        const std::string target = folder.file(name);
        const std::string format = name == "model.pt" ? "torch" : "safetensors";
        ASSERT_EQ(runShardlens({"convert", kSample, target, "--to", format, "--verify", "--progress", "none"}).exitCode, 0);
        EXPECT_EQ(answerTo({"digest", kSample, "--json"}).at("tensors"), answerTo({"digest", target, "--json"}).at("tensors")) << name;
    }
    EXPECT_NE(answerTo({"digest", kSample, "--json"}), answerTo({"digest", kSample, "--select", "module", "--json"}));
    EXPECT_EQ(answerTo({"digest", kSample, "--include", "^up", "--exclude", "bias", "--json"}).at("tensors").size(), 1u);
}

TEST(Verify, ASoundRunIsWhole)
{
    EXPECT_EQ(runShardlens({"verify", kSample}).exitCode, 0);
    const json quick = answerTo({"verify", kSample, "--quick", "--json"});
    EXPECT_EQ(quick.at("bytes_read"), 0);
    EXPECT_GT(answerTo({"verify", kSample, "--json"}).at("bytes_read"), 0);
}

TEST(FormatsAndDevices, AnswerInBothForms)
{
    EXPECT_EQ(answerTo({"formats", "--json"}).at("formats").at(1).at("id"), "deepspeed"); // in the order of detection
    EXPECT_EQ(answerTo({"devices", "--json"}).at("devices").at(0).at("id"), "cpu");
    expectLinesFit(runShardlens({"formats"}).results);
    expectLinesFit(runShardlens({"devices"}).results);
}

TEST(Failure, IsASentenceAndWithJsonAnObjectToo)
{
    const Answer answer = runShardlens({"inspect", "/no/such/folder", "--json"});
    EXPECT_EQ(answer.exitCode, 2);
    const json object = json::parse(answer.results);
    EXPECT_EQ(object.at("schema"), 1);
    EXPECT_EQ(object.at("error").at("code"), "not-found");
    EXPECT_THAT(object.at("error").at("text").get<std::string>(), HasSubstr("/no/such/folder"));
    EXPECT_EQ(answer.remarks, "error: " + object.at("error").at("text").get<std::string>() + "\n");
    EXPECT_EQ(json::parse(runShardlens({"digest", "--json"}).results).at("error").at("code"), "refused");
}

TEST(Pipes, ShortenNoName)
{
    const Answer inspected = runShardlens({"inspect", kSample});
    EXPECT_THAT(inspected.results, HasSubstr("zero_pp_rank_0_mp_rank_00_optim_states.pt"));
    EXPECT_THAT(inspected.results, Not(HasSubstr("…")));
}

TEST(Tags, AreRefusedWhereAFormatHasNone)
{
    TemporaryFolder folder;
    ASSERT_EQ(runShardlens({"convert", kSample, folder.file("m.safetensors")}).exitCode, 0);
    const Answer answer = runShardlens({"inspect", folder.file("m.safetensors"), "--tag", "step5"});
    EXPECT_EQ(answer.exitCode, 2);
    EXPECT_THAT(answer.remarks, HasSubstr("has no tags"));
}

TEST(Inspect, SaysWhatAMissingRankTakesAway)
{
    TemporaryFolder folder;
    fs::copy(kSample, folder.path() / "run", fs::copy_options::recursive);
    fs::remove(folder.path() / "run/global_step3/zero_pp_rank_1_mp_rank_00_optim_states.pt");
    const Answer answer = runShardlens({"inspect", folder.file("run")});
    EXPECT_THAT(answer.results, HasSubstr("90 values missing"));
    EXPECT_THAT(answer.results, ContainsRegex("group 0 +need 240 elements, have 160 on 3 ranks, up to 80 are missing"));
}

TEST(Layout, SaysThatANameIsTied)
{
    const Answer answer = runShardlens({"layout", kSample, "head.weight"});
    EXPECT_EQ(answer.exitCode, 0);
    EXPECT_THAT(answer.remarks, HasSubstr("head.weight is tied to embed.weight"));
}

TEST(Failure, AnEmptyPathIsSaidToBeOne)
{
    const Answer answer = runShardlens({"inspect", ""});
    EXPECT_EQ(answer.exitCode, 2);
    EXPECT_THAT(answer.remarks, HasSubstr("an empty path"));
}

} // namespace
} // namespace shardlens::cli
