#include "tests/conformance/conformance_case.h"

#include "tests/conformance/process.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cctype>
#include <fstream>
#include <ostream>
#include <set>

namespace shardlens::test {

// For the names that a test run prints.
void PrintTo(const ConformanceCheck& check, std::ostream* out)
{
    *out << check.title();
}

namespace {

const std::filesystem::path kFolder = SHARDLENS_CONFORMANCE_DIR;

std::set<std::string> knownChecks()
{
    std::ifstream in(kFolder / "known.txt");
    std::set<std::string> out;
    for (std::string line; std::getline(in, line);)
        out.insert(line);
    return out;
}

std::string testNameOf(const ConformanceCheck& check)
{
    std::string name = check.caseName + "__" + check.name;
    for (char& c : name)
        if (std::isalnum(static_cast<unsigned char>(c)) == 0)
            c = '_';
    return name;
}

class Conformance : public testing::TestWithParam<ConformanceCheck> {};

TEST_P(Conformance, Holds)
{
    if (!knownChecks().contains(GetParam().title()))
        GTEST_SKIP() << "Skipped: not claimed by tests/conformance/known.txt: " << GetParam().title();
    EXPECT_EQ(runCheck(GetParam(), SHARDLENS_CLI), "");
}

INSTANTIATE_TEST_SUITE_P(Copies, Conformance, testing::ValuesIn(checksBelow(kFolder / "cases")),
                         [](const auto& row) { return testNameOf(row.param) + "_" + std::to_string(row.index); }); // two checks of a case may share a name

TEST(ConformanceRunner, TellsDigestsApart)
{
    const auto expected = nlohmann::json::parse(
        R"({"tensors": {"w": {"dtype": "F32", "shape": [2], "sha256": "aa"}, "v": {"dtype": "F32", "shape": [], "sha256": "bb"}}})");
    EXPECT_THAT(digestDifferences(expected, expected, false), testing::IsEmpty());
    auto found = expected;
    found["tensors"]["w"]["sha256"] = "ab";
    found["tensors"].erase("v");
    found["tensors"]["x"] = found["tensors"]["w"];
    EXPECT_THAT(digestDifferences(expected, found, false), testing::UnorderedElementsAre("w: other bytes", "missing v", "unexpected x"));
    found = expected;
    found["tensors"]["w"]["shape"] = {1, 2};
    EXPECT_EQ(digestDifferences(expected, found, true).size(), 1u);
}

// A check that must fail does: the runner looks at exit codes, words and the target.
TEST(ConformanceRunner, SeesWhatIsWrong)
{
    ConformanceCheck check{"none", "none", kFolder / "cases/deepspeed/zero2-fp16-w3",
                           nlohmann::json::parse(R"({"run": ["inspect", "{source}"], "exit": 1})")};
    EXPECT_THAT(runCheck(check, SHARDLENS_CLI), testing::HasSubstr("exit code 0, expected 1"));
    check.rules = nlohmann::json::parse(R"({"run": ["inspect", "{source}"], "says": ["no such words"]})");
    EXPECT_THAT(runCheck(check, SHARDLENS_CLI), testing::HasSubstr("does not say"));
    check.rules = nlohmann::json::parse(R"({"run": ["convert", "{source}", "{out}", "--to", "safetensors"], "absent": true})");
    EXPECT_THAT(runCheck(check, SHARDLENS_CLI), testing::HasSubstr("target exists"));
    check.rules =
        nlohmann::json::parse(R"({"run": ["digest", "{source}", "--select", "module", "--json"], "digest": "expected/weights.json"})");
    EXPECT_THAT(runCheck(check, SHARDLENS_CLI), testing::HasSubstr("expected {\"dtype\":\"F32\""));
}

TEST(RunProcess, EndsWhatDoesNotAnswer)
{
    const ProcessResult result = runProcess({"/bin/sleep", "100"}, "/", std::chrono::seconds(0));
    EXPECT_TRUE(result.timedOut);
    EXPECT_EQ(result.exitCode, 128 + 9);
}

} // namespace
} // namespace shardlens::test
