#include "core/format/format.h"
#include "core/job/job_context.h"
#include "tests/ui/ui_fixture.h"
#include "ui/pages/convert_goal_step.h"
#include "ui/pages/convert_goals.h"
#include "ui/pages/convert_job_file.h"
#include "ui/pages/convert_options_step.h"
#include "ui/pages/convert_page.h"
#include "ui/pages/convert_plan_step.h"

#include <gmock/gmock.h>

#include <QComboBox>
#include <QPushButton>
#include <QSpinBox>
#include <QTest>

#include <filesystem>

// The goal that makes a directory of torch.distributed.checkpoint, with a number of writers.
namespace shardlens::ui::test {
namespace {

using ::testing::HasSubstr;

TEST(ConvertGoals, AreFormatsOfTheEngineAndEachHasItsWords)
{
    for (const ConvertGoal& goal : convertGoals()) {
        EXPECT_NE(formatById(goal.format), nullptr) << goal.format;
        EXPECT_FALSE(goal.titleText().isEmpty()) << goal.format;
        EXPECT_FALSE(goal.summaryText().isEmpty()) << goal.format;
        EXPECT_EQ(goalOf(goal.format), &goal);
    }
    EXPECT_EQ(goalOf("gguf"), nullptr);
}

TEST(DcpDraft, WritersAreTheRequestsDataParallelSize)
{
    JobDraft draft;
    draft.source = "/a";
    draft.format = "dcp";
    draft.target = "/b";
    draft.oneFile = true; // of another goal
    draft.maxShardBytes = 7;
    draft.tp = 2;
    EXPECT_FALSE(requestOf(draft).dp) << "one is the default";
    draft.writers = 8;
    const ConvertRequest request = requestOf(draft);
    EXPECT_EQ(request.dp, 8u);
    EXPECT_FALSE(request.maxShardBytes);
    EXPECT_FALSE(request.tp);
    EXPECT_EQ(commandLineOf(request), "shardlens convert /a /b --to dcp --dp 8 --verify");
    EXPECT_FALSE(makesOneFile(draft));
    EXPECT_EQ(withEnding("/b/model.safetensors", draft), "/b/model");
    draft.target = "/b.safetensors";
    EXPECT_THAT(problemOfTarget(draft).toStdString(), HasSubstr("a folder of files"));
    draft.format = "safetensors";
    EXPECT_FALSE(requestOf(draft).dp) << "safetensors has no writers";
}

class DcpGoalTest : public WindowTest {};

TEST_F(DcpGoalTest, TheCardIsChosenByKeyAndTheWritersAreSaidEverywhere)
{
    ConvertPage* convert = convertPage(samplePath());
    ASSERT_NE(convert, nullptr);
    GoalCard* card = convert->goalStep()->card("dcp");
    ASSERT_NE(card, nullptr);
    EXPECT_THAT(card->accessibleDescription().toStdString(), HasSubstr("KiB"));
    pictures(QStringLiteral("dcp-goal"));
    card->setFocus();
    QTest::keyClick(card, Qt::Key_Return);
    EXPECT_EQ(convert->draft().format, "dcp");
    EXPECT_EQ(convert->goalStep()->summary(convert->draft(), convert->facts()), "PyTorch DCP");
    convert->goTo(ConvertPage::Options);
    QSpinBox* writers = convert->optionsStep()->writers();
    EXPECT_TRUE(writers->isVisible());
    writers->setFocus();
    QTest::keyClick(writers, Qt::Key_Up);
    QTest::keyClick(writers, Qt::Key_Up);
    EXPECT_EQ(convert->draft().writers, 3u);
    EXPECT_THAT(convert->optionsStep()->summary(convert->draft(), convert->facts()).toStdString(), HasSubstr("3 writers"));
    EXPECT_THAT(shownTexts(*convert->optionsStep()), HasSubstr("3 ranks wrote the source"));
    EXPECT_THAT(shownTexts(*convert->optionsStep()), testing::Not(HasSubstr("Largest file")));
    pictures(QStringLiteral("dcp-options"));
    EXPECT_THAT(convert->copyText(false).toStdString(), HasSubstr("--to dcp --dp 3"));
    convert->setGoal(QStringLiteral("safetensors"));
    EXPECT_FALSE(writers->isVisible());
    EXPECT_THAT(convert->copyText(false).toStdString(), testing::Not(HasSubstr("--dp")));
    convert->setGoal(QStringLiteral("dcp"));
    EXPECT_EQ(convert->draft().writers, 3u) << "what was chosen is kept";
}

TEST_F(DcpGoalTest, TheResultHasAFileForEachWriterAndOpens)
{
    ConvertPage* convert = convertPage(samplePath());
    ASSERT_NE(convert, nullptr);
    convert->setGoal(QStringLiteral("dcp"));
    convert->setTarget(QString::fromStdString(m_folder.file("saved")));
    convert->optionsStep()->writers()->setValue(2);
    convert->goTo(ConvertPage::Plan);
    ASSERT_TRUE(waitFor([&] { return convert->planStep()->planned() != nullptr && convert->nextButton()->isEnabled(); }));
    pictures(QStringLiteral("dcp-plan"));
    QTest::mouseClick(convert->nextButton(), Qt::LeftButton);
    ASSERT_NE(convert->job(), nullptr);
    ASSERT_TRUE(waitFor([&] { return convert->job()->isOver(); }));
    EXPECT_EQ(convert->job()->state(), Job::State::Done) << convert->job()->report().error.toStdString();
    for (const char* name : {"saved/.metadata", "saved/__0_0.distcp", "saved/__1_0.distcp"})
        EXPECT_TRUE(std::filesystem::exists(m_folder.path() / name)) << name;
    EXPECT_FALSE(std::filesystem::exists(m_folder.path() / "saved/__2_0.distcp"));
    EXPECT_EQ(open(QString::fromStdString(m_folder.file("saved")))->document()->checkpoint()->formatId(), "dcp");
}

TEST_F(DcpGoalTest, AJobFileIsWrittenAndReadBack)
{
    JobContext job;
    const auto source = openCheckpoint(samplePath().toStdString(), {}, job);
    ASSERT_TRUE(source.ok());
    JobDraft draft;
    draft.source = samplePath().toStdString();
    draft.format = "dcp";
    draft.target = QStringLiteral("/data/out");
    draft.targetChosen = true;
    draft.writers = 5;
    draft.select = Select::All;
    draft.dtype = DType::BF16;
    draft.include = QStringLiteral("weight");
    JobDraft now;
    now.source = draft.source;
    const QString path = QString::fromStdString(m_folder.file("job.json"));
    ASSERT_TRUE(writeJobFile(path, requestOf(draft)).isEmpty());
    const auto request = readJobFile(path);
    ASSERT_TRUE(request.ok());
    const auto back = draftOf(*request, now, **source);
    ASSERT_TRUE(back.ok()) << back.error().sentence();
    EXPECT_EQ(*back, draft);

    ConvertRequest one = *request;
    one.dp = 1;
    const auto same = draftOf(one, now, **source);
    ASSERT_TRUE(same.ok()) << same.error().sentence();
    EXPECT_EQ(same->writers, 1u);
    one.zeroStage = 2;
    const auto refused = draftOf(one, now, **source);
    ASSERT_FALSE(refused.ok());
    EXPECT_THAT(refused.error().sentence(), HasSubstr("no field for its member zero_stage with the goal dcp"));
}

} // namespace
} // namespace shardlens::ui::test
