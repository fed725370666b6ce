#include "core/layout/selection.h"

#include "core/model/checkpoint_builder.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace shardlens {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

// A model whose tensors were read in another order than its parameters stand in: embed, head, norm (no master), mask (a buffer), seed (of no model).
class SelectionTest : public ::testing::Test {
protected:
    SelectionTest()
    {
        CheckpointBuilder builder("model", ".");
        for (const char* name : {"embed", "head", "norm", "mask", "seed"})
            builder.parameter(name);
        const auto add = [&](const char* name, RoleKind kind, const char* role, bool moduleCopy = false) {
            builder.addTensor({builder.parameter(name), builder.role(kind, role), DType::F32, Combine::Exclusive, moduleCopy, {2}});
        };
        add("seed", RoleKind::Other, "random state");
        add("mask", RoleKind::Buffer, "buffer", true);
        add("norm", RoleKind::Weight, "weight", true); // frozen: weight and module copy in one
        add("head", RoleKind::Module, "module copy");
        add("embed", RoleKind::Module, "module copy");
        add("embed", RoleKind::Weight, "fp32 master");
        add("head", RoleKind::Weight, "fp32 master");
        add("head", RoleKind::OptimizerState, "exp_avg");
        add("embed", RoleKind::OptimizerState, "exp_avg");
        add("embed", RoleKind::OptimizerState, "exp_avg_sq");
        builder.addAlias("tied", builder.parameter("embed"));
        builder.addAlias("also tied", builder.parameter("embed"));
        m_checkpoint = std::move(builder).finish();
    }

    // "name=role", and a star after what is an alias.
    [[nodiscard]] std::vector<std::string> selected(const SelectionOptions& options) const
    {
        std::vector<std::string> out;
        for (const SelectedTensor& one : selectTensors(*m_checkpoint, options))
            out.push_back(one.name + "=" + m_checkpoint->roleOf(one.tensor).name + (one.isAlias ? "*" : ""));
        return out;
    }
    [[nodiscard]] static std::vector<Regex> patterns(const std::vector<std::string>& texts)
    {
        std::vector<Regex> out;
        for (const std::string& text : texts) {
            auto compiled = Regex::compile(text);
            EXPECT_TRUE(compiled.ok()) << text;
            out.push_back(compiled.take());
        }
        return out;
    }

    CheckpointPtr m_checkpoint;
};

TEST_F(SelectionTest, WeightsAreMastersAndBuffersInModelOrder)
{
    EXPECT_THAT(selected({}), ElementsAre("embed=fp32 master", "tied=fp32 master*", "also tied=fp32 master*", "head=fp32 master", "norm=weight", "mask=buffer"));
}

TEST_F(SelectionTest, ModuleIsWhatTheModuleHeld)
{
    EXPECT_THAT(selected({Select::Module, {}, {}}),
                ElementsAre("embed=module copy", "tied=module copy*", "also tied=module copy*", "head=module copy", "norm=weight", "mask=buffer"));
}

TEST_F(SelectionTest, OptimizerStatesStandUnderTheCanonicalNameOnly)
{
    EXPECT_THAT(selected({Select::Optimizer, {}, {}}), ElementsAre("embed/exp_avg=exp_avg", "embed/exp_avg_sq=exp_avg_sq", "head/exp_avg=exp_avg"));
}

TEST_F(SelectionTest, AllTellsAModuleCopyFromItsMaster)
{
    EXPECT_THAT(selected({Select::All, {}, patterns({"tied"})}),
                ElementsAre("embed/module=module copy", "embed=fp32 master", "embed/exp_avg=exp_avg", "embed/exp_avg_sq=exp_avg_sq", "head/module=module copy", "head=fp32 master",
                            "head/exp_avg=exp_avg", "norm=weight", "mask=buffer", "seed=random state"));
}

TEST_F(SelectionTest, AliasesOfAllAreCopiesTooAndNamedSo)
{
    EXPECT_THAT(selected({Select::All, patterns({"^tied"}), {}}), ElementsAre("tied/module=module copy*", "tied=fp32 master*"));
}

TEST_F(SelectionTest, PatternsAreSearchedInTheOutsideName)
{
    EXPECT_THAT(selected({Select::Weights, patterns({"^tied$", "ask"}), {}}), ElementsAre("tied=fp32 master*", "mask=buffer"));
    EXPECT_THAT(selected({Select::Optimizer, patterns({"/exp_avg$"}), {}}), ElementsAre("embed/exp_avg=exp_avg", "head/exp_avg=exp_avg"));
    EXPECT_THAT(selected({Select::Weights, patterns({"fp32 master"}), {}}), IsEmpty()); // a role is no part of the name
}

TEST_F(SelectionTest, ExclusionBeatsInclusion)
{
    EXPECT_THAT(selected({Select::Weights, patterns({"embed", "head"}), patterns({"embed"})}), ElementsAre("head=fp32 master"));
    EXPECT_THAT(selected({Select::Weights, {}, patterns({"."})}), IsEmpty());
}

TEST(Select, HasANameForEveryChoiceAndKnowsNoOther)
{
    for (const Select one : {Select::Weights, Select::Module, Select::Optimizer, Select::All})
        EXPECT_EQ(selectByName(nameOf(one)), one);
    EXPECT_EQ(selectByName("Weights"), std::nullopt);
    EXPECT_EQ(selectByName(""), std::nullopt);
    EXPECT_STREQ(nameOf(Select::Module), "module");
}

TEST_F(SelectionTest, AnAliasRepeatsOnlyWhatStandsBeforeIt)
{
    const auto repeats = [&](const std::vector<std::string>& exclude) {
        std::vector<std::string> out;
        for (const SelectedTensor& one : selectTensors(*m_checkpoint, {Select::Weights, {}, patterns(exclude)}))
            if (one.repeats)
                out.push_back(one.name);
        return out;
    };
    EXPECT_THAT(repeats({}), ElementsAre("tied", "also tied"));
    EXPECT_THAT(repeats({"^embed$"}), ElementsAre("also tied")); // the first name that is left has the values
    EXPECT_THAT(repeats({"^embed$", "^tied$"}), IsEmpty());
}

} // namespace
} // namespace shardlens
