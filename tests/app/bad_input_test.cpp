#include "tests/app/captured_console.h"
#include "tests/support/temporary_folder.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <functional>
#include <sstream>

namespace shardlens::cli {
namespace {

namespace fs = std::filesystem;
using test::Answer;
using test::runShardlens;
using test::TemporaryFolder;
using testing::HasSubstr;

const std::string kRank1 = "global_step3/zero_pp_rank_1_mp_rank_00_optim_states.pt";
const std::string kModule = "global_step3/mp_rank_00_model_states.pt";

void writeText(const fs::path& file, const std::string& text)
{
    std::ofstream(file, std::ios::binary) << text;
}

std::string snapshot(const fs::path& folder)
{
    std::vector<std::string> rows;
    for (const auto& entry : fs::recursive_directory_iterator(folder)) {
        std::ifstream in(entry.path(), std::ios::binary);
        std::ostringstream bytes;
        if (entry.is_regular_file())
            bytes << in.rdbuf();
        rows.push_back(entry.path().string() + "\n" + bytes.str());
    }
    std::sort(rows.begin(), rows.end());
    std::string out;
    for (const std::string& row : rows)
        out += row;
    return out;
}

// One way for a run to be bad: what is done to a copy of the sample, what verify leaves, and the words that both commands must say.
struct BadRun {
    const char* name;
    std::function<void(const fs::path&)> harm;
    int verify; // exit code
    const char* says;
};

class BadRunTest : public testing::TestWithParam<BadRun> {
protected:
    void SetUp() override
    {
        fs::copy(SHARDLENS_SAMPLE, m_run, fs::copy_options::recursive);
        GetParam().harm(m_run);
        m_before = snapshot(m_run);
    }

    void expectNothingHappened() const
    {
        EXPECT_EQ(snapshot(m_run), m_before) << "the source is unchanged";
        for (const auto& entry : fs::directory_iterator(m_folder.path()))
            EXPECT_EQ(entry.path().filename(), "run") << "nothing else is left";
    }

    TemporaryFolder m_folder;
    fs::path m_run = m_folder.path() / "run";
    std::string m_before;
};

TEST_P(BadRunTest, StopsTheConversionWithASentence)
{
    const Answer answer = runShardlens({"convert", m_run.string(), m_folder.file("out"), "--to", "safetensors", "--progress", "none"});
    EXPECT_EQ(answer.exitCode, 2);
    EXPECT_THAT(answer.remarks, HasSubstr(GetParam().says));
    EXPECT_THAT(answer.remarks, testing::EndsWith(".\n"));
    expectNothingHappened();
}

TEST_P(BadRunTest, IsFoundByVerify)
{
    const Answer answer = runShardlens({"verify", m_run.string(), "--json"});
    EXPECT_EQ(answer.exitCode, GetParam().verify);
    EXPECT_THAT(answer.results + answer.remarks, HasSubstr(GetParam().says));
    expectNothingHappened();
}

INSTANTIATE_TEST_SUITE_P(
    Runs, BadRunTest,
    testing::Values(
        BadRun{"MissingRank", [](const fs::path& run) { fs::remove(run / kRank1); }, 1, "zero_pp_rank_1_mp_rank_00_optim_states.pt"},
        BadRun{"TruncatedFile", [](const fs::path& run) { fs::resize_file(run / kRank1, 1500); }, 1,
               "zero_pp_rank_1_mp_rank_00_optim_states.pt"},
        BadRun{"EmptyFile", [](const fs::path& run) { fs::resize_file(run / kRank1, 0); }, 1, "zero_pp_rank_1_mp_rank_00_optim_states.pt"},
        BadRun{"WrongLatest", [](const fs::path& run) { writeText(run / "latest", "global_step99"); }, 2, "global_step99"},
        BadRun{"TagOutsideTheFolder", [](const fs::path& run) { writeText(run / "latest", "../../etc"); }, 2, "latest"},
        BadRun{"SeveralTagsAndNoLatest",
               [](const fs::path& run) {
                   fs::copy(run / "global_step3", run / "global_step4");
                   fs::remove(run / "latest");
               },
               2, "global_step4"},
        BadRun{"NoOptimizerFiles",
               [](const fs::path& run) {
                   for (int rank = 0; rank < 3; ++rank)
                       fs::remove(run / ("global_step3/zero_pp_rank_" + std::to_string(rank) + "_mp_rank_00_optim_states.pt"));
               },
               1, "optim_states"},
        BadRun{"TextInsteadOfAPickle", [](const fs::path& run) { writeText(run / kModule, "<!DOCTYPE html>\n<html></html>\n"); }, 2,
               "mp_rank_00_model_states.pt"}),
    [](const auto& row) { return row.param.name; });

TEST(BadTarget, InsideTheSourceIsRefused)
{
    TemporaryFolder folder;
    const fs::path run = folder.path() / "run";
    fs::copy(SHARDLENS_SAMPLE, run, fs::copy_options::recursive);
    const std::string before = snapshot(run);
    const Answer answer = runShardlens({"convert", run.string(), (run / "out").string(), "--to", "safetensors", "--progress", "none"});
    EXPECT_EQ(answer.exitCode, 2);
    EXPECT_THAT(answer.remarks, HasSubstr("inside"));
    EXPECT_EQ(snapshot(run), before);
}

TEST(BadTarget, ThatExistsIsRefusedAndKept)
{
    TemporaryFolder folder;
    writeText(folder.file("out.safetensors"), "mine");
    const Answer answer =
        runShardlens({"convert", SHARDLENS_SAMPLE, folder.file("out.safetensors"), "--to", "safetensors", "--progress", "none"});
    EXPECT_EQ(answer.exitCode, 2);
    EXPECT_THAT(answer.remarks, testing::ContainsRegex("exist"));
    EXPECT_EQ(snapshot(folder.path()), folder.file("out.safetensors") + "\nmine");
}

TEST(BadTarget, OverwriteDoesNotDeleteWhatIsNoCheckpoint)
{
    TemporaryFolder folder;
    fs::create_directory(folder.path() / "home");
    writeText(folder.file("home/letter.txt"), "dear");
    const std::string before = snapshot(folder.path());
    const Answer answer =
        runShardlens({"convert", SHARDLENS_SAMPLE, folder.file("home"), "--to", "safetensors", "--overwrite", "--progress", "none"});
    EXPECT_EQ(answer.exitCode, 2);
    EXPECT_EQ(snapshot(folder.path()), before);
}

TEST(BadInput, AFolderWithoutCheckpointSaysWhatWasLookedFor)
{
    TemporaryFolder folder;
    writeText(folder.file("notes.txt"), "nothing");
    const Answer answer = runShardlens({"inspect", folder.path().string()});
    EXPECT_EQ(answer.exitCode, 2);
    EXPECT_THAT(answer.remarks, testing::AllOf(HasSubstr(folder.path().string()), HasSubstr("looked for"), HasSubstr("*.safetensors")));
}

// pickle: GLOBAL os.system, MARK, a command, TUPLE, REDUCE, STOP.
TEST(BadInput, APickleThatCallsTheSystemIsDataOnly)
{
    TemporaryFolder folder;
    const std::string proof = folder.file("proof");
    writeText(folder.file("evil.pt"), "\x80\x02"
                                      "cos\nsystem\n(X" +
                                          std::string(1, static_cast<char>(6 + proof.size())) + std::string(3, '\0') + "touch " + proof +
                                          "tR.");
    const Answer answer = runShardlens({"inspect", folder.file("evil.pt")});
    EXPECT_EQ(answer.exitCode, 2);
    EXPECT_FALSE(fs::exists(proof));
}

TEST(BadInput, AClaimOfAGigabyteIsRefusedBeforeItIsAllocated)
{
    TemporaryFolder folder;
    // safetensors: a header of 2³⁰ bytes in a file of 40.
    std::string bytes("\x00\x00\x00\x40\x00\x00\x00\x00", 8);
    writeText(folder.file("claim.safetensors"), bytes + std::string(32, '{'));
    const Answer answer = runShardlens({"inspect", folder.file("claim.safetensors")});
    EXPECT_EQ(answer.exitCode, 2);
    EXPECT_THAT(answer.remarks, HasSubstr("claim.safetensors"));
    // pickle: BINUNICODE of 2³⁰ bytes in a file of 40.
    writeText(folder.file("claim.pt"), std::string("\x80\x02X\x00\x00\x00\x40", 7) + std::string(33, 'a'));
    EXPECT_EQ(runShardlens({"inspect", folder.file("claim.pt")}).exitCode, 2);
}

} // namespace
} // namespace shardlens::cli
