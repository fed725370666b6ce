#include "core/analysis/rename.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace shardlens {
namespace {

using ::testing::HasSubstr;

std::string renamedBy(const std::vector<std::string>& rules, const std::string& name)
{
    std::vector<RenameRule> parsed;
    for (const std::string& text : rules) {
        auto rule = RenameRule::parse(text);
        if (!rule)
            return "error: " + rule.error().text();
        parsed.push_back(rule.take());
    }
    const auto out = renamed(name, parsed);
    return out ? *out : "error: " + out.error().text();
}

TEST(Rename, ReplacesEveryMatchOneRuleAfterAnother)
{
    EXPECT_EQ(renamedBy({"^module\\.="}, "module.layers.0.w"), "layers.0.w");
    EXPECT_EQ(renamedBy({"a=b", "b=c"}, "a.b.a"), "c.c.c");
    EXPECT_EQ(renamedBy({}, "x"), "x");
    EXPECT_EQ(renamedBy({"^z="}, "x"), "x");
}

TEST(Rename, KnowsGroupsAsPerlAndPythonWriteThem)
{
    EXPECT_EQ(renamedBy({"layers\\.(\\d+)=h.$1"}, "layers.12.w"), "h.12.w");
    EXPECT_EQ(renamedBy({"layers\\.(\\d+)=h.\\1"}, "layers.12.w"), "h.12.w");
    EXPECT_EQ(renamedBy({"w=$$"}, "w"), "$");
}

TEST(Rename, TakesTheLastEqualsSign)
{
    EXPECT_EQ(renamedBy({"a(?=b)=x"}, "ab"), "xb");
}

TEST(Rename, SaysWhatIsWrongWithARule)
{
    EXPECT_THAT(renamedBy({"module"}, "x"), HasSubstr("the rename rule module is not FROM=TO"));
    EXPECT_THAT(renamedBy({"=x"}, "x"), HasSubstr("is not FROM=TO"));
    EXPECT_THAT(renamedBy({"(=x"}, "x"), HasSubstr("does not compile"));
    EXPECT_THAT(renamedBy({"x=$3"}, "x"), HasSubstr("the replacement '$3'"));
    EXPECT_THAT(renamedBy({".=" + std::string(300, 'y')}, std::string(300, 'x')), HasSubstr("the replacement"));
}

TEST(SuggestRename, FindsTheLeadingPartThatIsTooMuch)
{
    const auto found = suggestRename({"module.a.w", "module.b.w", "step"}, {"a.w", "b.w"});
    ASSERT_TRUE(found);
    EXPECT_EQ(found->rule, "^module\\.=");
    EXPECT_EQ(found->matches, 2u);
    EXPECT_EQ(renamedBy({found->rule}, "module.a.w"), "a.w");
}

TEST(SuggestRename, FindsTheOneThatIsMissingAndTheOneToExchange)
{
    const auto added = suggestRename({"a.w", "b.w"}, {"model.a.w", "model.b.w", "head.w"});
    ASSERT_TRUE(added);
    EXPECT_EQ(renamedBy({added->rule}, "a.w"), "model.a.w");
    const auto exchanged = suggestRename({"transformer.h.0.w", "transformer.h.1.w"}, {"model.layers.0.w", "model.layers.1.w"});
    ASSERT_TRUE(exchanged);
    EXPECT_EQ(exchanged->matches, 2u);
    EXPECT_EQ(renamedBy({exchanged->rule}, "transformer.h.1.w"), "model.layers.1.w");
}

TEST(SuggestRename, QuotesWhatHasAMeaningInPatterns)
{
    const auto found = suggestRename({"m[0]$.a.w"}, {"a.w"});
    ASSERT_TRUE(found);
    EXPECT_EQ(renamedBy({found->rule}, "m[0]$.a.w"), "a.w");
}

TEST(SuggestRename, HasNothingToSayWhereNothingHelps)
{
    EXPECT_FALSE(suggestRename({"a", "b"}, {"x", "y"}));
    EXPECT_FALSE(suggestRename({}, {"x"}));
    EXPECT_FALSE(suggestRename({"x"}, {}));
}

} // namespace
} // namespace shardlens
