#include "core/layout/rule_library.h"
#include "core/layout/rule_preview.h"
#include "core/layout/rule_set.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/core/layout/rank_parts.h"
#include "tests/support/temporary_folder.h"

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <set>
#include <sstream>

namespace shardlens {
namespace {

using test::countingNumbers;
using test::PartFile;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

const std::filesystem::path kRuleFolder = SHARDLENS_RULES;

std::string textOf(const std::filesystem::path& path)
{
    std::ifstream in(path, std::ios::binary);
    std::ostringstream out;
    out << in.rdbuf();
    return out.str();
}

TEST(RuleFiles, EveryOneOfTheTreeIsBuiltIn)
{
    std::set<std::string> ids;
    std::size_t files = 0;
    for (const auto& entry : std::filesystem::directory_iterator(kRuleFolder)) {
        if (entry.path().extension() != ".json" || entry.path().filename() == "classes.json")
            continue;
        ++files;
        const auto rules = parseRules(textOf(entry.path()), "the tree");
        ASSERT_TRUE(rules) << entry.path() << ": " << rules.error().text();
        EXPECT_EQ(rules->id, entry.path().stem());
        EXPECT_FALSE(rules->title.empty() || rules->about.empty() || rules->reference.empty()) << rules->id;
        EXPECT_TRUE(ids.insert(rules->id).second);
        EXPECT_EQ(builtInRules(rules->id).id, rules->id);
        EXPECT_EQ(builtInRules(rules->id).rules.size(), rules->rules.size());
    }
    EXPECT_GT(files, 3u);
    EXPECT_EQ(builtInRules().size(), files);
}

struct Refused {
    const char* name;
    const char* json;
    const char* says;
};

class RuleFileRefuses : public testing::TestWithParam<Refused> {};

TEST_P(RuleFileRefuses, WithThePlace)
{
    const auto rules = parseRules(GetParam().json, "a test");
    ASSERT_FALSE(rules);
    EXPECT_EQ(rules.error().text(), GetParam().says);
}

INSTANTIATE_TEST_SUITE_P(
    Own, RuleFileRefuses,
    testing::Values(
        Refused{"NoObject", "[]", "no rule file: it has no member shardlens_rules"},
        Refused{"OtherFile", R"({"id": "a"})", "no rule file: it has no member shardlens_rules"},
        Refused{"LaterVersion", R"({"shardlens_rules": 2})", "version 2 of rule files, and this program reads version 1"},
        Refused{"NoId", R"({"shardlens_rules": 1, "rules": [{"pattern": "a", "ranks": "replicated"}]})", "it has no id"},
        Refused{"NoRules", R"({"shardlens_rules": 1, "id": "a"})", "it has no rules"},
        Refused{"EmptyRules", R"({"shardlens_rules": 1, "id": "a", "rules": []})", "it has no rules"},
        Refused{"UnknownMember", R"({"shardlens_rules": 1, "id": "a", "layer": []})", "layer: no such member of a rule file"},
        Refused{"IdIsNoText", R"({"shardlens_rules": 1, "id": 3})", "id: text is needed, and this is number"},
        Refused{"FlagIsNoFlag", R"({"shardlens_rules": 1, "id": "a", "first_match_wins": 1})", "first_match_wins: true or false is needed, and this is number"},
        Refused{"AnchoredIsNoFlag", R"({"shardlens_rules": 1, "id": "a", "anchored": "yes"})", "anchored: true or false is needed, and this is string"},
        Refused{"RulesAreNoList", R"({"shardlens_rules": 1, "id": "a", "rules": {}})", "rules: a list is needed, and this is object"},
        Refused{"RuleIsNoObject", R"({"shardlens_rules": 1, "id": "a", "rules": ["w"]})", "rules: rule 1: an object is needed, and this is string"},
        Refused{"RuleHasUnknownMember", R"({"shardlens_rules": 1, "id": "a", "rules": [{"pattern": "a", "axis": 1}]})", "rules: rule 1: axis: no such member of a rule"},
        Refused{"RuleSaysNothing", R"({"shardlens_rules": 1, "id": "a", "rules": [{"pattern": "a"}]})", "rules: rule 1: it has no member ranks (split, replicated or average)"},
        Refused{"UnknownKind", R"({"shardlens_rules": 1, "id": "a", "rules": [{"pattern": "a", "ranks": "sum"}]})",
                "rules: rule 1: ranks: sum is no way to lie over ranks; split, replicated and average are"},
        Refused{"SplitWithoutDim", R"({"shardlens_rules": 1, "id": "a", "rules": [{"pattern": "a", "ranks": "split"}]})", "rules: rule 1: a split needs dim"},
        Refused{"DimOfReplica", R"({"shardlens_rules": 1, "id": "a", "rules": [{"pattern": "a", "ranks": "replicated", "dim": 0}]})", "rules: rule 1: dim and segments belong to a split"},
        Refused{"DimTooLarge", R"({"shardlens_rules": 1, "id": "a", "rules": [{"pattern": "a", "ranks": "split", "dim": 65}]})",
                "rules: rule 1: dim: a whole number up to 64 is needed"},
        Refused{"NegativeDim", R"({"shardlens_rules": 1, "id": "a", "rules": [{"pattern": "a", "ranks": "split", "dim": -1}]})",
                "rules: rule 1: dim: a whole number up to 64 is needed"},
        Refused{"NoSegment", R"({"shardlens_rules": 1, "id": "a", "rules": [{"pattern": "a", "ranks": "split", "dim": 0, "segments": 0}]})",
                "rules: rule 1: segments: at least one segment is needed"},
        Refused{"EmptySegments", R"({"shardlens_rules": 1, "id": "a", "rules": [{"pattern": "a", "ranks": "split", "dim": 0, "segments": []}]})",
                "rules: rule 1: segments: at least one segment is needed"},
        Refused{"SegmentSizeIsNoText", R"({"shardlens_rules": 1, "id": "a", "rules": [{"pattern": "a", "ranks": "split", "dim": 0, "segments": [2]}]})",
                "rules: rule 1: segments: text is needed, and this is number"},
        Refused{"SecondRuleWithoutPattern", R"({"shardlens_rules": 1, "id": "a", "rules": [{"pattern": "a", "ranks": "replicated"}, {"ranks": "replicated"}]})",
                "rules: rule 2: it has no pattern"},
        Refused{"OtherwiseWithPattern", R"({"shardlens_rules": 1, "id": "a", "otherwise": {"pattern": "a", "ranks": "replicated"}})",
                "otherwise: the rule for everything else has no pattern"},
        Refused{"WhenIsNoObject", R"({"shardlens_rules": 1, "id": "a", "rules": [{"pattern": "a", "ranks": "replicated", "when": 1}]})",
                "rules: rule 1: when: an object is needed, and this is number"},
        Refused{"StageIsNone", R"({"shardlens_rules": 1, "id": "a", "stages": {"middle": []}})", "stages: middle is no stage; first and last are"},
        Refused{"TiedIsNoObject", R"({"shardlens_rules": 1, "id": "a", "tied": []})", "tied: an object is needed, and this is array"},
        Refused{"GatingIsIncomplete", R"({"shardlens_rules": 1, "id": "a", "gating": {"fact": "x"}})", "gating: an object with fact, rows and columns is needed"},
        Refused{"GroupedExpertsWithoutNumber", R"({"shardlens_rules": 1, "id": "a", "grouped_experts": [{"pattern": "x", "name": "y", "along": "rows"}]})",
                "grouped_experts: name has no {} for the number of the expert"},
        Refused{"GroupedExpertsAlongNothing", R"({"shardlens_rules": 1, "id": "a", "grouped_experts": [{"pattern": "x", "name": "{}", "along": "up"}]})",
                "grouped_experts: up is no way to hold experts; columns, rows and stack are"},
        Refused{"GroupedExpertsHalf", R"({"shardlens_rules": 1, "id": "a", "grouped_experts": [{"pattern": "x"}]})", "grouped_experts: an object with pattern, name and along is needed"},
        Refused{"HeadOrderWithoutParts", R"({"shardlens_rules": 1, "id": "a", "head_orders": {"x": 0}})", "head_orders: at least one part is needed"},
        Refused{"MeasuredIsNoObject", R"({"shardlens_rules": 1, "id": "a", "measured": ["h"]})", "measured: an object is needed, and this is array"},
        Refused{"MeasuredFactIsNoObject", R"({"shardlens_rules": 1, "id": "a", "measured": {"h": 0}})", "measured: h: an object with pattern and dim is needed"},
        Refused{"MeasuredWithoutDim", R"({"shardlens_rules": 1, "id": "a", "measured": {"h": {"pattern": "w"}}})",
                "measured: h: an object with pattern and dim is needed"},
        Refused{"MeasuredWithMore", R"({"shardlens_rules": 1, "id": "a", "measured": {"h": {"pattern": "w", "dim": 0, "of": 1}}})",
                "measured: h: an object with pattern and dim is needed"},
        Refused{"MeasuredWithOtherMember", R"({"shardlens_rules": 1, "id": "a", "measured": {"h": {"pattern": "w", "axis": 0}}})",
                "measured: h: an object with pattern and dim is needed"},
        Refused{"MeasuredPatternIsNoText", R"({"shardlens_rules": 1, "id": "a", "measured": {"h": {"pattern": 1, "dim": 0}}})",
                "measured: text is needed, and this is number"},
        Refused{"MeasuredDimTooLarge", R"({"shardlens_rules": 1, "id": "a", "measured": {"h": {"pattern": "w", "dim": 65}}})",
                "measured: a whole number up to 64 is needed"},
        Refused{"LayersAreNoList", R"({"shardlens_rules": 1, "id": "a", "layers": "x"})", "layers: a list is needed, and this is string"}),
    [](const auto& row) { return row.param.name; });

TEST(RuleFiles, WhatDoesNotCompileOrIsNoJsonIsRefused)
{
    const auto pattern = parseRules(R"({"shardlens_rules": 1, "id": "a", "rules": [{"pattern": "a(", "ranks": "replicated"}]})", "a test");
    ASSERT_FALSE(pattern);
    EXPECT_THAT(pattern.error().text(), testing::StartsWith("rules: rule 1: "));
    const auto cut = parseRules(R"({"shardlens_rules": 1, )", "a test");
    ASSERT_FALSE(cut);
    EXPECT_THAT(cut.error().text(), HasSubstr("no JSON"));
    const auto deep = parseRules(R"({"shardlens_rules": 1, "id": )" + std::string(17, '[') + std::string(17, ']') + "}", "a test");
    ASSERT_FALSE(deep);
    EXPECT_EQ(deep.error().code(), ErrorCode::LimitExceeded);
}

TEST(RuleFiles, ConditionsAnchorsAndTheRest)
{
    const auto rules = parseRules(R"({"shardlens_rules": 1, "id": "a", "anchored": true,
        "rules": [{"pattern": "w|v", "ranks": "split", "dim": 0, "when": {"version": [1, 2.0], "gated": true}}, {"pattern": "w", "ranks": "replicated", "when": {"version": 0}}],
        "otherwise": {"ranks": "average"}})",
                                  "a test");
    ASSERT_TRUE(rules);
    const auto kindOf = [&](const char* name, const Facts& facts) {
        const auto rule = rules->ruleFor(name, facts);
        return (*rule)->kind;
    };
    EXPECT_EQ(kindOf("w", {{"version", "2"}, {"gated", "true"}}), Division::Kind::Split);
    EXPECT_EQ(kindOf("v.x", {{"version", "1"}, {"gated", "true"}}), Division::Kind::Split);
    EXPECT_EQ(kindOf("x.v", {{"version", "1"}, {"gated", "true"}}), Division::Kind::Average); // not at the beginning
    EXPECT_EQ(kindOf("w", {{"version", "0"}}), Division::Kind::Replicated);
    EXPECT_EQ(kindOf("w", {}), Division::Kind::Average);
    EXPECT_TRUE(rules->isOutOfCondition("w", {{"version", "7"}}));
    EXPECT_FALSE(rules->isOutOfCondition("x", {{"version", "7"}}));
    EXPECT_FALSE(rules->isNamed(*rules->ruleFor("x", {})));
}

TEST(RuleFiles, DivisionsThatTheSizesRefuse)
{
    const auto ruleOf = [](const std::string& members) { return parseRules(R"({"shardlens_rules": 1, "id": "a", "rules": [{"pattern": "w", "ranks": "split", )" + members + "}]}", "a test")->rules[0]; };
    const auto words = [&](const std::string& members, const Shape& shape, std::uint32_t ranks, const Facts& facts = {}) {
        const auto division = divisionOf(ruleOf(members), shape, ranks, facts);
        return division ? std::string("divides") : division.error().text();
    };
    EXPECT_EQ(words(R"("dim": 0)", {14}, 4), "14 elements along dimension 0 cannot be cut into 4 equal parts");
    EXPECT_EQ(words(R"("dim": 0, "segments": 2)", {12}, 4), "6 elements along dimension 0 (segment 1 of 2) cannot be cut into 4 equal parts");
    EXPECT_EQ(words(R"("dim": 0, "segments": ["4", "h*2"])", {10}, 2, {{"h", "3"}}), "divides");
    EXPECT_EQ(words(R"("dim": 0, "segments": ["4", "h*2"])", {12}, 2, {{"h", "3"}}), "the segments of the rule w make 10, and it has 12 along dimension 0");
    EXPECT_EQ(words(R"("dim": 0, "segments": ["h"])", {12}, 2, {{"h", "9999999999999999999999"}}), "the rule needs the size h, which the checkpoint does not say");
    EXPECT_EQ(words(R"("dim": 0, "segments": ["h*h*h"])", {12}, 2, {{"h", "4000000000"}}), "the size h is too large");
    EXPECT_EQ(words(R"("dim": 1)", {12}, 2), "the rule w cuts dimension 1, and the shape is [12]");
    EXPECT_EQ(words(R"("dim": 0)", {12}, 0), "12 elements along dimension 0 cannot be cut into 0 equal parts");
}

class UserRules : public testing::Test {
protected:
    UserRules() : m_before(std::getenv("XDG_CONFIG_HOME") == nullptr ? "" : std::getenv("XDG_CONFIG_HOME"))
    {
        ::setenv("XDG_CONFIG_HOME", m_folder.path().c_str(), 1);
        std::filesystem::create_directories(m_folder.path() / "shardlens/rules");
    }
    ~UserRules() override { m_before.empty() ? ::unsetenv("XDG_CONFIG_HOME") : ::setenv("XDG_CONFIG_HOME", m_before.c_str(), 1); }
    void write(const std::string& name, const std::string& text) const { std::ofstream(m_folder.path() / "shardlens/rules" / name) << text; }

    test::TemporaryFolder m_folder;
    std::string m_before;
};

TEST_F(UserRules, ComeBeforeTheBuiltInOnes)
{
    write("mine.json", R"({"shardlens_rules": 1, "id": "megatron-core", "title": "mine", "rules": [{"pattern": "w", "ranks": "replicated"}]})");
    write("bad.json", "{");
    write("notes.txt", "no rules");
    const auto found = rulesIn(userRulesFolder());
    ASSERT_EQ(found.size(), 2u);
    EXPECT_THAT(found[0].problem, HasSubstr("bad.json: no JSON"));
    EXPECT_TRUE(found[1].rules.has_value());
    EXPECT_EQ(findRules("megatron-core")->title, "mine");
    EXPECT_EQ(findRules("megatron-legacy")->origin, "built in");
    const auto none = findRules("nothing");
    ASSERT_FALSE(none);
    EXPECT_EQ(none.error().code(), ErrorCode::NotFound);
    EXPECT_THAT(none.error().text(), testing::AllOf(HasSubstr("no rules are named nothing; there are megatron-core, colossalai, deepspeed-inference, deepspeed-megatron"), HasSubstr("bad.json: no JSON")));
    const auto bad = findRules(m_folder.file("shardlens/rules/bad.json"));
    ASSERT_FALSE(bad);
    EXPECT_THAT(bad.error().text(), HasSubstr("bad.json: no JSON"));
    EXPECT_EQ(findRules("gone.json").error().code(), ErrorCode::NotFound);
}

TEST(RulePreview, SortsParametersByTheirRule)
{
    PartFile file("model");
    for (const char* name : {"a.w", "b.w", "c.w", "a.b.w", "odd.a"})
        file.add(name, countingNumbers({4, 2}));
    file.add("a.scalar", countingNumbers({}));
    file.add("a.w", countingNumbers({4, 2}), RoleKind::OptimizerState, "exp_avg");
    file.builder().setModelFacts({{"version", "7"}});
    file.builder().addLost({"lost", RoleKind::Weight, "lost: it is lost."}, "lost-tensor", kNoFile);
    const CheckpointPtr checkpoint = file.finish();
    const auto rules = parseRules(R"({"shardlens_rules": 1, "id": "a", "first_match_wins": false,
        "rules": [{"pattern": "^a\\.", "ranks": "split", "dim": 0}, {"pattern": "b\\.w", "ranks": "replicated"}, {"pattern": "none", "ranks": "replicated"},
                  {"pattern": "^odd", "ranks": "replicated", "when": {"version": 2}}, {"pattern": "^lost", "ranks": "replicated"}]})",
                                  "a test");
    ASSERT_TRUE(rules);
    const RulePreview preview = previewRules(*rules, *checkpoint, 3);
    std::vector<std::size_t> counts;
    for (const RulePreview::Use& use : preview.uses)
        counts.push_back(use.tensors.size());
    EXPECT_THAT(counts, ElementsAre(1, 1, 0, 0, 0)); // states and single numbers do not count
    const auto namesOf = [](const std::vector<RulePreview::Problem>& problems) {
        std::vector<std::string> out;
        for (const RulePreview::Problem& one : problems)
            out.push_back(one.name + ": " + one.text);
        return out;
    };
    EXPECT_THAT(namesOf(preview.unmatched), ElementsAre("c.w: no pattern matches it", "odd.a: its rules are for other values of version, or the checkpoint does not say it"));
    EXPECT_THAT(namesOf(preview.matchedTwice), ElementsAre("a.b.w: two rules of a match a.b.w: ^a\\. and b\\.w"));
    EXPECT_THAT(namesOf(preview.undivided), ElementsAre("a.w: 4 elements along dimension 0 cannot be cut into 3 equal parts", "lost: lost: it is lost."));
    EXPECT_THAT(*partShapes(rules->rules[0], Shape{4, 2}, 2, {}), ElementsAre(Shape{2, 2}, Shape{2, 2}));
}

} // namespace
} // namespace shardlens
