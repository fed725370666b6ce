#include "core/format/format.h"
#include "core/job/job_context.h"
#include "tests/support/colossalai_test_run.h"
#include "tests/support/torch_dist_test_run.h"
#include "tests/ui/ui_fixture.h"
#include "ui/pages/convert_goal_step.h"
#include "ui/pages/convert_job_file.h"
#include "ui/pages/convert_options_step.h"
#include "ui/pages/convert_page.h"
#include "ui/pages/convert_plan_step.h"

#include <gmock/gmock.h>

#include <QPushButton>
#include <QSpinBox>
#include <QTest>

#include <filesystem>

// The goals that make a framework's distributed checkpoint of all that a source holds: ColossalAI's, and megatron-core's torch_dist.
namespace shardlens::ui::test {
namespace {

using shardlens::test::DistTestRun;
using shardlens::test::copiedTensor;
using shardlens::test::slicedTensor;
using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;

TEST(ShardedDraft, TakesTheSourceWholeOnRanksOrForWriters)
{
    JobDraft draft;
    draft.source = "/a";
    draft.format = "colossalai";
    draft.target = "/b";
    draft.select = Select::Optimizer; // of another goal, as the next ones
    draft.dtype = DType::BF16;
    draft.include = QStringLiteral("x");
    draft.writers = 3;
    draft.zeroStage = 2;
    EXPECT_EQ(commandLineOf(requestOf(draft)), "shardlens convert /a /b --to colossalai --verify");
    draft.tp = 2;
    draft.pp = 4;
    EXPECT_EQ(commandLineOf(requestOf(draft)), "shardlens convert /a /b --to colossalai --tp 2 --pp 4 --verify");
    EXPECT_EQ(contentsOf(draft), Select::All);
    draft.format = "torch-dist";
    EXPECT_EQ(commandLineOf(requestOf(draft)), "shardlens convert /a /b --to torch-dist --dp 3 --verify");
    draft.target = "/b.pt";
    EXPECT_THAT(problemOfTarget(draft).toStdString(), HasSubstr("a folder of files"));
}

class ShardedGoalTest : public WindowTest {
protected:
    QString colossalai()
    {
        DistTestRun run;
        run.count = 2;
        run.tensors = {copiedTensor("model.embed_tokens.weight", {8, 4}, 0, 2), slicedTensor("model.layers.0.mlp.up_proj.weight", {16, 4}, 100, 0, 2),
                       slicedTensor("model.layers.1.mlp.up_proj.weight", {16, 4}, 200, 0, 2), copiedTensor("model.norm.weight", {4}, 9, 2)};
        run.write(m_folder.file("colossal"));
        return QString::fromStdString(m_folder.file("colossal"));
    }

    QString torchDist()
    {
        shardlens::test::TorchDistTestRun().write(m_folder.file("dist"));
        return QString::fromStdString(m_folder.file("dist"));
    }

    static QSpinBox* ranks(const ConvertPage& convert, const char* name)
    {
        for (auto* box : convert.optionsStep()->findChildren<QSpinBox*>())
            if (box->accessibleName() == QLatin1String(name))
                return box;
        return nullptr;
    }

    // The job of the page's plan, once it is over.
    Job* done(ConvertPage& convert, const char* target)
    {
        convert.setTarget(QString::fromStdString(m_folder.file(target)));
        convert.goTo(ConvertPage::Plan);
        if (!waitFor([&] { return convert.planStep()->planned() != nullptr && convert.nextButton()->isEnabled(); }))
            return nullptr;
        QTest::mouseClick(convert.nextButton(), Qt::LeftButton);
        return convert.job() != nullptr && waitFor([&] { return convert.job()->isOver(); }) ? convert.job() : nullptr;
    }

    std::string formatOf(const char* name)
    {
        return open(QString::fromStdString(m_folder.file(name)))->document()->checkpoint()->formatId();
    }
};

TEST_F(ShardedGoalTest, AnyRunBecomesColossalAisOnRanksThatAreChosen)
{
    ConvertPage* convert = convertPage(samplePath());
    ASSERT_NE(convert, nullptr);
    EXPECT_FALSE(convert->goalStep()->card("torch-dist")->isVisible()) << "no names of Megatron";
    GoalCard* card = convert->goalStep()->card("colossalai");
    card->setFocus();
    QTest::keyClick(card, Qt::Key_Return);
    EXPECT_EQ(convert->draft().format, "colossalai");
    ASSERT_TRUE(waitFor([&] { return convert->facts().run != nullptr; }));
    pictures(QStringLiteral("colossalai-goal"));
    convert->goTo(ConvertPage::Options);
    QSpinBox* tp = ranks(*convert, "Tensor-parallel ranks");
    ASSERT_NE(tp, nullptr);
    EXPECT_TRUE(tp->isVisible());
    EXPECT_TRUE(tp->isEnabled());
    EXPECT_EQ(tp->value(), 1);
    EXPECT_FALSE(ranks(*convert, "Data-parallel ranks")->isVisible());
    EXPECT_FALSE(convert->optionsStep()->writers()->isVisible());
    tp->setValue(2);
    EXPECT_EQ(convert->draft().tp, 2u);
    ASSERT_TRUE(waitFor([&] { return convert->facts().run != nullptr; }));
    EXPECT_THAT(convert->facts().run->refusal.toStdString(), "");
    EXPECT_EQ(convert->optionsStep()->summary(convert->draft(), convert->facts()), "tp 2, pp 1");
    EXPECT_THAT(shownTexts(*convert->optionsStep()), AllOf(HasSubstr("Everything, as it is"), Not(HasSubstr("ZeRO stage")), Not(HasSubstr("Precision"))));
    pictures(QStringLiteral("colossalai-options"));
    Job* job = done(*convert, "saved");
    ASSERT_NE(job, nullptr);
    EXPECT_EQ(job->state(), Job::State::Done) << job->report().error.toStdString();
    EXPECT_EQ(formatOf("saved"), "colossalai");
}

TEST_F(ShardedGoalTest, AColossalAiSourceKeepsItsRanksUnlessOthersAreChosen)
{
    ConvertPage* convert = convertPage(colossalai());
    ASSERT_NE(convert, nullptr);
    convert->setGoal(QStringLiteral("colossalai"));
    convert->goTo(ConvertPage::Options);
    ASSERT_TRUE(waitFor([&] { return convert->facts().run != nullptr; }));
    EXPECT_EQ(ranks(*convert, "Tensor-parallel ranks")->value(), 2);
    EXPECT_EQ(convert->optionsStep()->summary(convert->draft(), convert->facts()), "tp 2, pp 1");
    ranks(*convert, "Tensor-parallel ranks")->setValue(3);
    ASSERT_TRUE(waitFor([&] { return convert->facts().run != nullptr; }));
    EXPECT_THAT(convert->optionsStep()->obstacle(convert->draft(), convert->facts()).toStdString(), HasSubstr("3")) << "16 rows for 3 ranks";
    pictures(QStringLiteral("colossalai-refused"));
    ranks(*convert, "Tensor-parallel ranks")->setValue(4);
    Job* job = done(*convert, "four");
    ASSERT_NE(job, nullptr);
    EXPECT_EQ(job->state(), Job::State::Done) << job->report().error.toStdString();
    EXPECT_TRUE(std::filesystem::exists(m_folder.path() / "four/pytorch_model-dist-00003-shard-00000.bin"));
}

TEST_F(ShardedGoalTest, SizesThatWereChosenEndWithTheirGoal)
{
    ConvertPage* convert = convertPage(samplePath());
    ASSERT_NE(convert, nullptr);
    convert->setGoal(QStringLiteral("colossalai"));
    convert->goTo(ConvertPage::Options);
    ranks(*convert, "Tensor-parallel ranks")->setValue(5); // no matrix has rows for these
    ASSERT_TRUE(waitFor([&] { return convert->facts().run != nullptr; }));
    convert->goTo(ConvertPage::Goal);
    EXPECT_EQ(convert->goalStep()->obstacle(convert->draft(), convert->facts()), QString()) << "the options have the say";
    EXPECT_THAT(convert->goalStep()->card("colossalai")->accessibleDescription().toStdString(), Not(HasSubstr("Not from this checkpoint")));
    GoalCard* deepspeed = convert->goalStep()->card("deepspeed");
    deepspeed->setFocus();
    QTest::keyClick(deepspeed, Qt::Key_Return);
    EXPECT_EQ(convert->draft().tp, std::nullopt) << "DeepSpeed's goal has no field for it here";
    ASSERT_TRUE(waitFor([&] { return convert->facts().run != nullptr; }));
    EXPECT_EQ(convert->optionsStep()->obstacle(convert->draft(), convert->facts()), QString());
    EXPECT_THAT(convert->copyText(false).toStdString(), AllOf(HasSubstr("--to deepspeed"), Not(HasSubstr("--tp"))));
    convert->setGoal(QStringLiteral("colossalai"));
    EXPECT_EQ(ranks(*convert, "Tensor-parallel ranks")->value(), 1);
}

TEST_F(ShardedGoalTest, TorchDistIsWrittenByAsManyWritersAsAreChosen)
{
    ConvertPage* convert = convertPage(torchDist());
    ASSERT_NE(convert, nullptr);
    EXPECT_TRUE(convert->goalStep()->card("torch-dist")->isVisible());
    convert->setGoal(QStringLiteral("torch-dist"));
    convert->goTo(ConvertPage::Options);
    EXPECT_TRUE(convert->optionsStep()->writers()->isVisible());
    EXPECT_FALSE(ranks(*convert, "Tensor-parallel ranks")->isVisible());
    convert->optionsStep()->writers()->setValue(2);
    EXPECT_EQ(convert->draft().writers, 2u);
    EXPECT_EQ(convert->optionsStep()->summary(convert->draft(), convert->facts()), "2 writers");
    ASSERT_TRUE(waitFor([&] { return convert->facts().run != nullptr; }));
    pictures(QStringLiteral("torch-dist-options"));
    Job* job = done(*convert, "again");
    ASSERT_NE(job, nullptr);
    EXPECT_EQ(job->state(), Job::State::Done) << job->report().error.toStdString();
    EXPECT_EQ(formatOf("again"), "torch-dist");
}

TEST_F(ShardedGoalTest, AJobFileIsWrittenAndReadBack)
{
    JobContext job;
    const auto source = openCheckpoint(samplePath().toStdString(), {}, job);
    ASSERT_TRUE(source.ok());
    JobDraft draft;
    draft.source = samplePath().toStdString();
    draft.format = "colossalai";
    draft.select = Select::All;
    draft.target = QStringLiteral("/data/out");
    draft.targetChosen = true;
    draft.tp = 2;
    JobDraft now;
    now.source = draft.source;
    const auto back = draftOf(requestOf(draft), now, **source);
    ASSERT_TRUE(back.ok()) << back.error().sentence();
    EXPECT_EQ(*back, draft);
    ConvertRequest other = requestOf(draft);
    other.to = "torch-dist";
    other.tp.reset();
    const auto refused = draftOf(other, now, **source);
    ASSERT_FALSE(refused.ok());
    EXPECT_THAT(refused.error().sentence(), HasSubstr("needs a source of that format, or of megatron"));
}

} // namespace
} // namespace shardlens::ui::test
