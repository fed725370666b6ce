#include "tests/app/captured_console.h"
#include "tests/support/temporary_folder.h"

#include "app/cli/console.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include <fstream>
#include <sstream>

namespace shardlens::cli {
namespace {

using nlohmann::json;
using test::Answer;
using test::runShardlens;
using test::TemporaryFolder;
using testing::HasSubstr;
using testing::Not;

class ScanCommand : public testing::Test {
protected:
    [[nodiscard]] std::string write(const std::string& name, const std::string& bytes) const
    {
        std::ofstream(m_folder.file(name), std::ios::binary) << bytes;
        return m_folder.file(name);
    }
    TemporaryFolder m_folder;
    static inline const std::string kHostile = "cposix\nsystem\n(S'touch x'\ntR.";
    static inline const std::string kUnknown = "ctrain\nArguments\n)\x81.";
};

TEST_F(ScanCommand, LeavesTheVerdictInItsExitCode)
{
    EXPECT_EQ(runShardlens({"scan", write("a", kHostile)}).exitCode, 1);
    EXPECT_EQ(runShardlens({"scan", write("a", kUnknown)}).exitCode, 0);
    EXPECT_EQ(runShardlens({"scan", write("a", "\x80\x02N.")}).exitCode, 0);
    EXPECT_EQ(runShardlens({"scan", write("a", "\x80\x02N")}).exitCode, 1);
    EXPECT_EQ(runShardlens({"scan", write("a", "text")}).exitCode, 0);
    const Answer missing = runShardlens({"scan", m_folder.file("missing")});
    EXPECT_EQ(missing.exitCode, 2);
    EXPECT_THAT(missing.remarks, HasSubstr("no such file or folder"));
}

TEST_F(ScanCommand, AnswersInJson)
{
    (void)write("b.pkl", kHostile);
    (void)write("a.pkl", kUnknown);
    const Answer answer = runShardlens({"scan", m_folder.path().string(), "--json"});
    const json found = json::parse(answer.results);
    EXPECT_EQ(found["schema"], 1);
    EXPECT_EQ(found["verdict"], "dangerous");
    EXPECT_EQ(found["level"], 5);
    EXPECT_EQ(found["files"], 2);
    const json& first = found["findings"][0];
    EXPECT_EQ(first["file"], "b.pkl");
    EXPECT_EQ(first["member"], "");
    EXPECT_EQ(first["offset"], 0);
    EXPECT_EQ(first["code"], "G5");
    EXPECT_EQ(first["opcode"], "GLOBAL");
    EXPECT_EQ(found["findings"][1]["what"], "calls posix.system('touch x')");
    EXPECT_EQ(found["scanned"].size(), 2u);
    EXPECT_EQ(found["streams"][0]["imports"][0]["module"], "train");
    EXPECT_EQ(found["streams"][0]["weights_only"]["add_safe_globals"][0], "train.Arguments");
    EXPECT_EQ(found["streams"][1]["weights_only"]["accepted"], false);
}

TEST_F(ScanCommand, SaysEmptyListsInJsonToo)
{
    const json found = json::parse(runShardlens({"scan", write("a", "text"), "--json"}).results);
    EXPECT_TRUE(found["findings"].empty());
    EXPECT_TRUE(found["streams"].empty());
    EXPECT_EQ(found["scanned"][0]["pickles"], 0);
}

TEST_F(ScanCommand, SaysForPeopleWhatAndWhere)
{
    const Answer answer = runShardlens({"scan", write("model.pt", kHostile)});
    EXPECT_THAT(answer.results, HasSubstr("calls posix.system('touch x')"));
    EXPECT_THAT(answer.results, HasSubstr("model.pt @27"));
    EXPECT_THAT(answer.results, HasSubstr("Dangerous:"));
    EXPECT_THAT(answer.results, HasSubstr("Nothing in them was executed."));
    EXPECT_THAT(answer.results, Not(HasSubstr("GLOBAL")));
}

TEST_F(ScanCommand, ShowsOpcodesAndImportsWhenAsked)
{
    const Answer answer = runShardlens({"scan", write("model.pt", kHostile), "-v"});
    EXPECT_THAT(answer.results, HasSubstr(">          0  GLOBAL           posix.system"));
    EXPECT_THAT(answer.results, testing::ContainsRegex("level +import +times"));
    std::istringstream in(answer.results);
    for (std::string line; std::getline(in, line);)
        EXPECT_LE(displayWidth(line), 100u) << line;
}

TEST_F(ScanCommand, EscapesNamesForTheTerminal)
{
    const Answer answer = runShardlens({"scan", write("a", "cm\x1b[2J\nf\n.")});
    EXPECT_THAT(answer.results, Not(HasSubstr("\x1b[2J")));
    EXPECT_THAT(answer.results, HasSubstr("m\\x1b[2J.f"));
}

} // namespace
} // namespace shardlens::cli
