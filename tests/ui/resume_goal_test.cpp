#include "tests/support/torch_test_file.h"
#include "tests/support/zero_test_run.h"
#include "tests/ui/ui_fixture.h"
#include "ui/pages/convert_goal_step.h"
#include "ui/pages/convert_job_file.h"
#include "ui/pages/convert_options_step.h"
#include "ui/pages/convert_page.h"
#include "ui/pages/convert_plan_step.h"
#include "ui/widgets/banner.h"

#include <gmock/gmock.h>

#include <QCheckBox>
#include <QComboBox>
#include <QLineEdit>
#include <QPushButton>
#include <QRadioButton>
#include <QSpinBox>
#include <QTest>

#include <filesystem>

// The goal of the convert page that makes a run for other ranks, and the torch file that keeps a whole tree.
namespace shardlens::ui::test {
namespace {

using shardlens::test::Py;
using shardlens::test::pyDict;
using ::testing::HasSubstr;

class ResumeGoalTest : public WindowTest {
protected:
    static shardlens::test::ZeroTestRun someRun()
    {
        shardlens::test::ZeroTestRun run;
        run.parameters = {{"embed.weight", {13, 6}, 0}, {"norm.weight", {7}, 1}, {"up.weight", {11, 6}, 0}};
        run.world = 3;
        return run;
    }

    QString written(const shardlens::test::ZeroTestRun& run)
    {
        run.write(m_folder.file("run"), "global_step7");
        return QString::fromStdString(m_folder.file("run"));
    }

    // A torch file with nesting, a number and two tensors.
    QString nestedFile()
    {
        const std::string path = m_folder.file("nested.pt");
        const Py weight{Py::Tensor{"FloatStorage", 0, 6, 0, {2, 3}, {}}};
        const Py moment{Py::Tensor{"FloatStorage", 1, 6, 0, {2, 3}, {}}};
        const auto bytes = [](std::uint64_t offset, std::span<std::byte> out) {
            for (std::size_t i = 0; i < out.size(); ++i)
                out[i] = static_cast<std::byte>((offset + i) % 61);
        };
        shardlens::test::writeTorchFile(
            path,
            pyDict({{"model", pyDict({{"weight", weight}})}, {"optimizer", pyDict({{"moment", moment}})}, {"epoch", Py{std::int64_t{3}}}}),
            {{24, bytes}, {24, bytes}});
        return QString::fromStdString(path);
    }

    template <typename T>
    static T* control(const ConvertPage& convert, const char* name)
    {
        for (T* widget : convert.optionsStep()->findChildren<T*>())
            if (widget->accessibleName() == QLatin1String(name))
                return widget;
        return nullptr;
    }

    // What stands beside the controls and can be read.
    bool planned(ConvertPage& convert)
    {
        convert.goTo(ConvertPage::Plan);
        return waitFor([&] { return convert.planStep()->planned() != nullptr; });
    }
};

TEST_F(ResumeGoalTest, IsOfferedForARunAndSaysHowItIsDividedNow)
{
    ConvertPage* convert = convertPage(samplePath());
    ASSERT_NE(convert, nullptr);
    GoalCard* card = convert->goalStep()->card("deepspeed");
    ASSERT_NE(card, nullptr);
    EXPECT_TRUE(card->isEnabled());
    EXPECT_THAT(card->sentence().toStdString(), HasSubstr("DeepSpeed ZeRO-2 on 3 ranks"));
    EXPECT_THAT(card->accessibleDescription().toStdString(), HasSubstr("KiB"));
    pictures(QStringLiteral("resume-goal"));
    card->setFocus();
    QTest::keyClick(card, Qt::Key_Return);
    EXPECT_TRUE(card->isChecked());
    EXPECT_EQ(convert->draft().format, "deepspeed");
    EXPECT_TRUE(convert->nextButton()->isEnabled());
    EXPECT_TRUE(convert->draft().target.endsWith(QLatin1String("sample-deepspeed"))) << convert->draft().target.toStdString();
}

TEST_F(ResumeGoalTest, TheOverviewOffersItForARunOnly)
{
    const auto goal = [this](const char* title) {
        for (auto* button : m_window->currentWorkspace()->currentPage()->findChildren<QAbstractButton*>())
            if (button->text() == QLatin1String(title))
                return button;
        return static_cast<QAbstractButton*>(nullptr);
    };
    const auto summed = [&] { return !goal("One torch file")->accessibleDescription().isEmpty(); };
    open(nestedFile(), QStringLiteral("overview"));
    EXPECT_FALSE(goal("Continue on other ranks")->isVisible());
    ASSERT_TRUE(waitFor(summed));
    EXPECT_FALSE(goal("Continue on other ranks")->isVisible());
    open(samplePath(), QStringLiteral("overview"));
    ASSERT_TRUE(waitFor(summed));
    ASSERT_TRUE(goal("Continue on other ranks")->isVisible());
    goal("Continue on other ranks")->click();
    auto* convert = page<ConvertPage>();
    ASSERT_NE(convert, nullptr);
    EXPECT_EQ(convert->draft().format, "deepspeed");
    ASSERT_TRUE(waitFor([&] { return convert->nextButton()->isEnabled(); }));
}

TEST_F(ResumeGoalTest, IsRefusedWithTheReasonForATorchFile)
{
    ConvertPage* convert = convertPage(nestedFile());
    ASSERT_NE(convert, nullptr);
    const GoalCard* card = convert->goalStep()->card("deepspeed");
    EXPECT_TRUE(card->isVisible());
    EXPECT_FALSE(card->isEnabled());
    EXPECT_THAT(card->sentence().toStdString(), HasSubstr("no training state of a DeepSpeed engine"));
    convert->setGoal(QStringLiteral("deepspeed")); // as a job of the overview would
    convert->goTo(ConvertPage::Goal);
    EXPECT_FALSE(convert->nextButton()->isEnabled());
    EXPECT_THAT(convert->nextButton()->toolTip().toStdString(), HasSubstr("nothing to resume from"));
    pictures(QStringLiteral("resume-goal-refused"));
    convert->goTo(ConvertPage::Options); // by the list of steps
    EXPECT_FALSE(control<QSpinBox>(*convert, "Data-parallel ranks")->isEnabled());
    EXPECT_THAT(shownTexts(*convert->optionsStep()), HasSubstr("nothing to resume from"));
    pictures(QStringLiteral("resume-options-refused"));
}

TEST_F(ResumeGoalTest, IsRefusedWithTheReasonForARunThatLacksARank)
{
    const QString source = written(someRun());
    for (const auto& entry : std::filesystem::directory_iterator(m_folder.path() / "run" / "global_step7"))
        if (entry.path().filename().string().find("zero_pp_rank_1_") != std::string::npos)
            std::filesystem::remove(entry.path());
    ConvertPage* convert = convertPage(source);
    ASSERT_NE(convert, nullptr);
    const GoalCard* card = convert->goalStep()->card("deepspeed");
    EXPECT_FALSE(card->isEnabled());
    EXPECT_THAT(card->sentence().toStdString(), HasSubstr("rank 1"));
    pictures(QStringLiteral("resume-goal-missing"));
}

TEST_F(ResumeGoalTest, TheControlsMakeTheRequestAndItsCommandLine)
{
    auto run = someRun();
    run.unknownClass = "train.Config";
    ConvertPage* convert = convertPage(written(run));
    ASSERT_NE(convert, nullptr);
    convert->setGoal(QStringLiteral("deepspeed"));
    convert->goTo(ConvertPage::Options);
    pictures(QStringLiteral("resume-options-default"));
    auto* ranks = control<QSpinBox>(*convert, "Data-parallel ranks");
    auto* stage = control<QComboBox>(*convert, "ZeRO stage");
    auto* keep = control<QCheckBox>(*convert, "Keep objects of unknown classes");
    ASSERT_TRUE(ranks != nullptr && stage != nullptr && keep != nullptr);
    EXPECT_EQ(ranks->value(), 3);
    EXPECT_EQ(requestOf(convert->draft()).dp, std::nullopt); // as the source: no option
    EXPECT_THAT(shownTexts(*convert->optionsStep()), HasSubstr("train.Config"));
    EXPECT_THAT(shownTexts(*convert->optionsStep()), HasSubstr("Unknown objects: the plan says why"));
    ranks->setFocus();
    ranks->selectAll();
    QTest::keyClicks(ranks, QStringLiteral("5"));
    stage->setCurrentIndex(stage->findData(3u));
    QTest::mouseClick(keep, Qt::LeftButton, {}, {8, keep->height() / 2});
    ASSERT_TRUE(waitFor([&] { return convert->facts().run != nullptr; }));
    convert->setTarget(QString::fromStdString(m_folder.file("out")));
    const ConvertRequest request = requestOf(convert->draft());
    EXPECT_EQ(request.dp, 5u);
    EXPECT_EQ(request.zeroStage, 3u);
    EXPECT_TRUE(request.keepObjects);
    EXPECT_EQ(convert->copyText(false).toStdString(), "shardlens convert " + m_folder.file("run") + " " + m_folder.file("out") +
                                                          " --to deepspeed --dp 5 --zero-stage 3 --keep-objects --verify");
    const std::string texts = shownTexts(*convert->optionsStep());
    EXPECT_THAT(texts, HasSubstr("the source has 3"));
    EXPECT_THAT(texts, HasSubstr("on 3 ranks becomes DeepSpeed ZeRO-3 on 5 ranks"));
    EXPECT_THAT(texts, HasSubstr("11 files"));
    pictures(QStringLiteral("resume-options-chosen"));
    ranks->setValue(3);
    EXPECT_EQ(requestOf(convert->draft()).dp, std::nullopt);
}

TEST_F(ResumeGoalTest, WhatTheGoalDoesNotTakeIsHiddenAndNotAskedFor)
{
    ConvertPage* convert = convertPage(samplePath());
    ASSERT_NE(convert, nullptr);
    convert->goTo(ConvertPage::Options);
    auto* dtype = control<QComboBox>(*convert, "Precision");
    auto* include = control<QLineEdit>(*convert, "Only names with");
    ASSERT_TRUE(dtype != nullptr && include != nullptr);
    dtype->setCurrentIndex(dtype->findText(QStringLiteral("BF16")));
    include->setText(QStringLiteral("norm"));
    convert->setGoal(QStringLiteral("deepspeed"));
    convert->goTo(ConvertPage::Options);
    for (const char* name : {"Precision", "Largest file", "Only names with", "Not names with"}) {
        const auto* hidden = control<QWidget>(*convert, name);
        ASSERT_NE(hidden, nullptr) << name;
        EXPECT_FALSE(hidden->isVisible()) << name;
    }
    EXPECT_TRUE(control<QSpinBox>(*convert, "Data-parallel ranks")->isVisible());
    EXPECT_FALSE(control<QCheckBox>(*convert, "Keep objects of unknown classes")->isEnabled()); // the sample has none
    EXPECT_THAT(shownTexts(*convert->optionsStep()), HasSubstr("every object of the source is written again"));
    const ConvertRequest request = requestOf(convert->draft());
    EXPECT_FALSE(request.dtype);
    EXPECT_TRUE(request.include.empty());
    EXPECT_FALSE(request.select);
    ASSERT_TRUE(planned(*convert));
    EXPECT_EQ(convert->planStep()->planned()->refusal.toStdString(), "");
    convert->setGoal(QStringLiteral("safetensors")); // the choices are still there
    EXPECT_EQ(requestOf(convert->draft()).dtype, DType::BF16);
    convert->goTo(ConvertPage::Options);
    EXPECT_TRUE(dtype->isVisible());
    EXPECT_FALSE(control<QSpinBox>(*convert, "Data-parallel ranks")->isVisible());
}

TEST_F(ResumeGoalTest, ThePlanSaysWhatBecomesOfTheRanksAndWhatIsDropped)
{
    auto run = someRun();
    run.unknownClass = "train.Config";
    ConvertPage* convert = convertPage(written(run));
    ASSERT_NE(convert, nullptr);
    convert->setGoal(QStringLiteral("deepspeed"));
    control<QSpinBox>(*convert, "Data-parallel ranks")->setValue(2);
    EXPECT_TRUE(convert->draft().target.endsWith(QLatin1String("run-dp2"))) << convert->draft().target.toStdString();
    ASSERT_TRUE(planned(*convert));
    const std::string texts = shownTexts(*convert->planStep());
    EXPECT_THAT(texts, HasSubstr("on 3 ranks becomes"));
    EXPECT_THAT(texts, HasSubstr("3 before, 2 after"));
    EXPECT_THAT(texts, HasSubstr("4 files"));
    std::string lines;
    for (const PlanLine& line : convert->planStep()->planned()->plan->lines)
        lines += std::string(nameOf(line.kind)) + " " + line.topic + ": " + line.text + "\n";
    EXPECT_THAT(lines, HasSubstr("dropped Unknown objects: "));
    EXPECT_THAT(lines, HasSubstr("train.Config"));
    pictures(QStringLiteral("resume-plan"));
}

TEST_F(ResumeGoalTest, RunsAndTheResultOpensOnTheNewRanks)
{
    ConvertPage* convert = convertPage(samplePath());
    ASSERT_NE(convert, nullptr);
    convert->setGoal(QStringLiteral("deepspeed"));
    pictures(QStringLiteral("resume-check"));
    auto* stage = control<QComboBox>(*convert, "ZeRO stage");
    control<QSpinBox>(*convert, "Data-parallel ranks")->setValue(2);
    stage->setCurrentIndex(stage->findData(3u));
    const QString target = QString::fromStdString(m_folder.file("out"));
    convert->setTarget(target);
    ASSERT_TRUE(planned(*convert));
    pictures(QStringLiteral("resume-plan-stage3"));
    ASSERT_TRUE(convert->nextButton()->isEnabled()) << convert->nextButton()->toolTip().toStdString();
    QTest::mouseClick(convert->nextButton(), Qt::LeftButton);
    Job* job = convert->job();
    ASSERT_NE(job, nullptr);
    ASSERT_TRUE(waitFor([&] { return job->isOver(); }));
    ASSERT_EQ(job->state(), Job::State::Done) << job->report().error.toStdString();
    EXPECT_TRUE(job->report().verified);
    pictures(QStringLiteral("resume-done"));
    const CheckpointPtr result = open(target)->document()->checkpoint();
    EXPECT_EQ(result->formatTitle(), "DeepSpeed ZeRO-3");
    EXPECT_EQ(result->topology().sizeOf(Axis::Dp), 2u);
    pictures(QStringLiteral("resume-result"));
}

TEST_F(ResumeGoalTest, ATargetThatNamesOneFileIsRefusedAtOnce)
{
    ConvertPage* convert = convertPage(samplePath());
    ASSERT_NE(convert, nullptr);
    convert->setGoal(QStringLiteral("deepspeed"));
    convert->setTarget(QString::fromStdString(m_folder.file("out.pt")));
    EXPECT_FALSE(convert->nextButton()->isEnabled());
    EXPECT_THAT(convert->nextButton()->toolTip().toStdString(), HasSubstr("folder"));
    convert->setTarget(QString::fromStdString(m_folder.file("out")));
    EXPECT_TRUE(convert->nextButton()->isEnabled());
}

TEST_F(ResumeGoalTest, AJobFileIsTakenOver)
{
    ConvertPage* convert = convertPage(samplePath());
    ASSERT_NE(convert, nullptr);
    ConvertRequest wanted;
    wanted.source = samplePath().toStdString();
    wanted.target = m_folder.file("out");
    wanted.to = "deepspeed";
    wanted.dp = 7;
    wanted.zeroStage = 1;
    wanted.keepObjects = true;
    wanted.overwrite = true;
    const QString path = QString::fromStdString(m_folder.file("job.json"));
    ASSERT_EQ(writeJobFile(path, wanted).toStdString(), "");
    convert->openJobFile(path);
    EXPECT_EQ(requestToJson(requestOf(convert->draft())), requestToJson(wanted));
    convert->goTo(ConvertPage::Options);
    EXPECT_EQ(control<QSpinBox>(*convert, "Data-parallel ranks")->value(), 7);
    EXPECT_EQ(control<QComboBox>(*convert, "ZeRO stage")->currentText().toStdString(), "ZeRO-1");
    EXPECT_TRUE(control<QCheckBox>(*convert, "Keep objects of unknown classes")->isChecked());
    ASSERT_TRUE(waitFor([&] { return convert->facts().run != nullptr; }));
    EXPECT_EQ(convert->facts().run->after->ranks, 7u);
    pictures(QStringLiteral("resume-job-file"));
}

struct BadJob {
    const char* name;
    const char* text;
    const char* says;
};

class JobFilesThatAreNotTakenOver : public ResumeGoalTest, public testing::WithParamInterface<BadJob> {};

TEST_P(JobFilesThatAreNotTakenOver, SayWhyAndChangeNothing)
{
    ConvertPage* convert = convertPage(samplePath());
    ASSERT_NE(convert, nullptr);
    const JobDraft before = convert->draft();
    const QString path = QString::fromStdString(m_folder.file("job.json"));
    QFile file(path);
    ASSERT_TRUE(file.open(QIODevice::WriteOnly));
    file.write(GetParam().text);
    file.close();
    convert->openJobFile(path);
    EXPECT_EQ(convert->draft(), before);
    QString said;
    for (const auto* label : convert->findChild<Banner*>()->findChildren<QLabel*>())
        said += label->text();
    EXPECT_THAT(said.toStdString(), HasSubstr(GetParam().says));
}

INSTANTIATE_TEST_SUITE_P(
    Jobs, JobFilesThatAreNotTakenOver,
    testing::Values(
        BadJob{"NoJson", "{", "no JSON"},
        BadJob{"AnotherGoal", R"({"shardlens_job":1,"source":"a","target":"b","to":"gguf"})", "no goal of this page makes gguf"},
        BadJob{"SeveralPatterns", R"({"shardlens_job":1,"source":"a","target":"b","to":"torch","include":["x","y"]})", "2 patterns"},
        BadJob{"AnotherTag", R"({"shardlens_job":1,"source":"a","target":"b","to":"torch","tag":"global_step9"})", "the tag global_step9"},
        BadJob{"DTypeOfARun", R"({"shardlens_job":1,"source":"a","target":"b","to":"deepspeed","dtype":"BF16"})", "dtype"},
        BadJob{"StagesOfAPlainRun", R"({"shardlens_job":1,"source":"a","target":"b","to":"deepspeed","pp":2})",
               "pp needs a source of tensor or pipeline ranks"},
        BadJob{"RanksOfAModel", R"({"shardlens_job":1,"source":"a","target":"b","to":"safetensors","dp":2})", "dp"}),
    [](const auto& row) { return row.param.name; });

TEST_F(ResumeGoalTest, EverythingOfATorchTreeIsProposedAsOneFileAndRuns)
{
    ConvertPage* convert = convertPage(nestedFile());
    ASSERT_NE(convert, nullptr);
    convert->setGoal(QStringLiteral("torch"));
    convert->goTo(ConvertPage::Options);
    auto* dtype = control<QComboBox>(*convert, "Precision");
    dtype->setCurrentIndex(dtype->findText(QStringLiteral("F16")));
    for (auto* content : convert->optionsStep()->findChildren<QRadioButton*>())
        if (content->text() == QLatin1String("Everything"))
            content->setChecked(true);
    EXPECT_TRUE(convert->draft().target.endsWith(QLatin1String("nested-torch.pt"))) << convert->draft().target.toStdString();
    EXPECT_FALSE(dtype->isEnabled());
    EXPECT_EQ(dtype->currentIndex(), 0);
    EXPECT_FALSE(requestOf(convert->draft()).dtype);
    pictures(QStringLiteral("resume-tree-options"));
    ASSERT_TRUE(planned(*convert));
    EXPECT_EQ(convert->planStep()->planned()->refusal.toStdString(), "");
    convert->setTarget(QString::fromStdString(m_folder.file("folder")));
    EXPECT_THAT(convert->nextButton()->toolTip().toStdString(), HasSubstr(".pt"));
    convert->setTarget(QString::fromStdString(m_folder.file("whole.pt")));
    ASSERT_TRUE(waitFor([&] { return convert->nextButton()->isEnabled(); })) << convert->nextButton()->toolTip().toStdString();
    QTest::mouseClick(convert->nextButton(), Qt::LeftButton);
    Job* job = convert->job();
    ASSERT_NE(job, nullptr);
    ASSERT_TRUE(waitFor([&] { return job->isOver(); }));
    EXPECT_EQ(job->state(), Job::State::Done) << job->report().error.toStdString();
    EXPECT_EQ(open(QString::fromStdString(m_folder.file("whole.pt")))->document()->checkpoint()->tensors().size(), 2u);
}

TEST_F(ResumeGoalTest, TabPassesThroughTheRowsOfTheGoal)
{
    ConvertPage* convert = convertPage(samplePath());
    ASSERT_NE(convert, nullptr);
    m_window->activateWindow();
    convert->setGoal(QStringLiteral("deepspeed"));
    convert->goTo(ConvertPage::Options);
    auto* ranks = control<QSpinBox>(*convert, "Data-parallel ranks");
    auto* stage = control<QComboBox>(*convert, "ZeRO stage");
    ranks->setFocus();
    QTest::keyClick(ranks, Qt::Key_Up);
    EXPECT_EQ(convert->draft().dp, 4u);
    QTest::keyClick(ranks, Qt::Key_Tab);
    EXPECT_EQ(QApplication::focusWidget(), stage);
    QTest::keyClick(stage, Qt::Key_Down);
    EXPECT_EQ(convert->draft().zeroStage, 1u);
    QTest::keyClick(stage, Qt::Key_Escape); // the draft is kept
    EXPECT_EQ(convert->draft().zeroStage, 1u);
    ASSERT_TRUE(waitFor([&] { return convert->nextButton()->isEnabled(); }));
    QTest::keyClick(convert->nextButton(), Qt::Key_Return);
    EXPECT_EQ(convert->step(), ConvertPage::Plan);
}

} // namespace
} // namespace shardlens::ui::test
