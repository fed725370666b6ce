#include "tests/app/captured_console.h"
#include "tests/support/rank_test_file.h"
#include "tests/support/temporary_folder.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include <cstdlib>
#include <filesystem>
#include <fstream>

namespace shardlens::cli {
namespace {

using nlohmann::json;
using test::Answer;
using test::runShardlens;
using testing::AllOf;
using testing::HasSubstr;
using testing::Not;

// A rule folder of the user's own.
class RulesCommand : public testing::Test {
protected:
    RulesCommand() : m_before(std::getenv("XDG_CONFIG_HOME") == nullptr ? "" : std::getenv("XDG_CONFIG_HOME"))
    {
        ::setenv("XDG_CONFIG_HOME", m_folder.path().c_str(), 1);
        std::filesystem::create_directories(m_folder.path() / "shardlens/rules");
    }
    ~RulesCommand() override { m_before.empty() ? ::unsetenv("XDG_CONFIG_HOME") : ::setenv("XDG_CONFIG_HOME", m_before.c_str(), 1); }
    std::string write(const std::string& name, const std::string& text) const
    {
        const std::string path = m_folder.file("shardlens/rules/" + name);
        std::ofstream(path) << text;
        return path;
    }
    // Two ranks of a model with an embedding, a fused matrix and a norm.
    std::string writeRanks() const
    {
        for (const int rank : {0, 1})
            test::writeRankFile(m_folder.file("run/mp_rank_0" + std::to_string(rank) + "_model_states.pt"), "module",
                                {{"embed.weight", {4, 2}, std::vector<float>(8)}, {"h.0.fused.weight", {6, 2}, std::vector<float>(12)}, {"h.0.norm.weight", {2}, std::vector<float>(2)}});
        const std::string path = m_folder.file("run/list.json");
        std::ofstream(path) << R"({"type": "Megatron", "version": 2, "checkpoints": ["mp_rank_00_model_states.pt", "mp_rank_01_model_states.pt"]})";
        return path;
    }

    test::TemporaryFolder m_folder;
    std::string m_before;
};

TEST_F(RulesCommand, ListsWhatThereIsAndSaysWhatCannotBeRead)
{
    write("bad.json", R"({"shardlens_rules": 1, "id": "bad", "rules": 3})");
    write("mine.json", R"({"shardlens_rules": 1, "id": "megatron-core", "title": "my own", "rules": [{"pattern": "w", "ranks": "replicated"}]})");
    const Answer people = runShardlens({"rules"});
    EXPECT_EQ(people.exitCode, 0);
    EXPECT_THAT(people.results, AllOf(HasSubstr("deepspeed-megatron"), HasSubstr("my own"), HasSubstr("hidden by the one above")));
    EXPECT_THAT(people.remarks, HasSubstr("bad.json: rules: a list is needed, and this is number."));
    const json answer = json::parse(runShardlens({"rules", "--json"}).results);
    EXPECT_EQ(answer.at("schema"), 1);
    EXPECT_EQ(answer.at("folder"), m_folder.file("shardlens/rules"));
    EXPECT_EQ(answer.at("rules").at(0).at("id"), nullptr);
    EXPECT_THAT(answer.at("rules").at(0).at("problem"), HasSubstr("a list is needed"));
    EXPECT_EQ(answer.at("rules").at(1).at("title"), "my own");
    std::size_t hidden = 0;
    for (const json& row : answer.at("rules"))
        hidden += row.at("hidden") == true ? 1 : 0;
    EXPECT_EQ(hidden, 1u);
}

TEST_F(RulesCommand, ShowsEveryRule)
{
    const Answer people = runShardlens({"rules", "megatron-legacy"});
    EXPECT_EQ(people.exitCode, 0);
    EXPECT_THAT(people.results, AllOf(HasSubstr("each of 2 segments by itself (gate, up), where swiglu is true"), HasSubstr("word_embeddings_for_head.weight is a copy of"), HasSubstr("3 parts a head")));
    const json answer = json::parse(runShardlens({"rules", "megatron-legacy", "--json"}).results);
    EXPECT_EQ(answer.at("rules").size(), 14u);
    EXPECT_EQ(answer.at("otherwise"), nullptr);
    EXPECT_EQ(answer.at("gating").at("fact"), "swiglu");
    EXPECT_FALSE(answer.contains("path"));
}

TEST_F(RulesCommand, RefusesWhatIsNotThereOrBad)
{
    const Answer none = runShardlens({"rules", "nothing"});
    EXPECT_EQ(none.exitCode, 2);
    EXPECT_THAT(none.remarks, HasSubstr("no rules are named nothing; there are colossalai, deepspeed-inference, deepspeed-megatron"));
    const Answer bad = runShardlens({"rules", write("bad.json", "{}"), "--json"});
    EXPECT_EQ(bad.exitCode, 2);
    EXPECT_EQ(json::parse(bad.results).at("error").at("code"), "refused");
    EXPECT_EQ(runShardlens({"rules", "--on", "somewhere"}).exitCode, 2);
}

TEST_F(RulesCommand, SaysWhatTheyMakeOfACheckpoint)
{
    const std::string rules = write("mine.json", R"({"shardlens_rules": 1, "id": "mine", "first_match_wins": false, "rules": [
        {"pattern": "embed", "ranks": "split", "dim": 0}, {"pattern": "^h\\.0\\.fused", "ranks": "split", "dim": 0, "segments": 3},
        {"pattern": "bias$", "ranks": "replicated"}, {"pattern": "nothing", "ranks": "replicated"}]})");
    const std::string list = writeRanks();
    const Answer people = runShardlens({"rules", rules, "--on", list});
    EXPECT_EQ(people.exitCode, 0) << people.remarks;
    EXPECT_THAT(people.results, AllOf(HasSubstr("1 tensor: embed.weight\n          [8, 2] over 2 ranks: [4, 2] each"), HasSubstr("1 tensor: h.0.fused.weight\n          [12, 2] over 2 ranks: [6, 2] each"),
                                      HasSubstr("matches nothing")));
    EXPECT_THAT(people.results, HasSubstr("1 tensor that no rule is for:\n  h.0.norm.weight: no pattern matches it"));
    const json answer = json::parse(runShardlens({"rules", rules, "--on", list, "--tp", "3", "--json"}).results);
    EXPECT_EQ(answer.at("tp"), 3);
    EXPECT_EQ(answer.at("rules").at(0).at("on").at("example").at("parts"), nullptr);
    EXPECT_EQ(answer.at("undivided").at(0).at("name"), "embed.weight");
    EXPECT_EQ(answer.at("rules").at(3).at("on"), (json{{"tensors", 0}, {"example", nullptr}}));
}

TEST_F(RulesCommand, TakesCheckpointsOfWholeTensorsToo)
{
    test::writeRankFile(m_folder.file("model.pt"), "", {{"embed.weight", {6, 2}, std::vector<float>(12)}});
    const std::string rules = write("mine.json", R"({"shardlens_rules": 1, "id": "mine", "rules": [{"pattern": "embed", "ranks": "split", "dim": 1}]})");
    const json answer = json::parse(runShardlens({"rules", rules, "--on", m_folder.file("model.pt"), "--tp", "2", "--json"}).results);
    EXPECT_EQ(answer.at("rules").at(0).at("on").at("example").at("parts"), json({{6, 1}, {6, 1}}));
}

} // namespace
} // namespace shardlens::cli
