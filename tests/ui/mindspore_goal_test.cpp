#include "core/convert/request.h"
#include "core/format/format.h"
#include "core/job/job_context.h"
#include "tests/ui/mindspore_sample.h"
#include "tests/ui/ui_fixture.h"
#include "ui/jobs/job.h"
#include "ui/jobs/job_detail.h"
#include "ui/models/device_map.h"
#include "ui/models/needed_rows.h"
#include "ui/pages/convert_goal_step.h"
#include "ui/pages/convert_job_file.h"
#include "ui/pages/convert_mindspore_options.h"
#include "ui/pages/convert_options_step.h"
#include "ui/pages/convert_page.h"
#include "ui/pages/convert_plan_step.h"
#include "ui/pages/convert_planner.h"
#include "ui/pages/convert_strategy_preview.h"
#include "ui/pages/overview/goal_button.h"
#include "ui/widgets/device_matrix_view.h"

#include <gmock/gmock.h>

#include <QComboBox>
#include <QFile>
#include <QLineEdit>
#include <QPushButton>
#include <QSpinBox>
#include <QTableView>
#include <QTest>

#include <filesystem>

// The goal that makes MindSpore's files: from the ranks of one strategy to those of another, to one file, and from other formats.
namespace shardlens::ui::test {
namespace {

using testing::HasSubstr;

class MindSporeGoalTest : public WindowTest {
protected:
    // A run of eight ranks, with its strategy beside it.
    ConvertPage* opened(const MindSporeSample& sample = MindSporeSample::eight())
    {
        sample.writeRun(m_folder.file("runs/run"));
        sample.writeStrategy(m_folder.file("runs/run/strategy.ckpt"));
        return openedAt(QString::fromStdString(m_folder.file("runs/run")));
    }
    ConvertPage* openedAt(const QString& path)
    {
        open(path, QStringLiteral("convert"));
        auto* convert = page<ConvertPage>();
        EXPECT_TRUE(waitFor([&] { return convert->facts().outlook != nullptr && convert->facts().source != nullptr; }));
        return convert;
    }
    QString strategyOf(const MindSporeSample& sample, const char* name) const
    {
        const std::string path = m_folder.file(std::string("strategies/") + name);
        sample.writeStrategy(path);
        return QString::fromStdString(path);
    }
    // Up to the options, with that strategy chosen.
    static void chooseStrategy(ConvertPage* convert, const QString& strategy)
    {
        convert->setGoal(QStringLiteral("mindspore"));
        convert->goTo(ConvertPage::Options);
        convert->optionsStep()->mindSpore()->chooseStrategy(strategy);
        EXPECT_TRUE(waitFor([&] { return convert->facts().run != nullptr && (convert->facts().targetStrategy.strategy || !convert->facts().targetStrategy.problem.isEmpty()); }));
        QCoreApplication::processEvents();
    }
    // Plans, starts, and waits for the job; the target.
    static QString run(ConvertPage* convert)
    {
        convert->goTo(ConvertPage::Plan);
        EXPECT_TRUE(waitFor([&] { return convert->planStep()->planned() != nullptr; }));
        EXPECT_EQ(convert->planStep()->planned()->refusal, QString());
        const QString target = convert->draft().target;
        QTest::mouseClick(convert->nextButton(), Qt::LeftButton);
        EXPECT_TRUE(waitFor([&] { return convert->job() != nullptr && convert->job()->isOver(); }));
        return target;
    }
    static CheckpointPtr readBack(const QString& path, const OpenOptions& options)
    {
        JobContext job;
        auto opened = openCheckpoint(path.toStdString(), options, job);
        EXPECT_TRUE(opened) << opened.error().text();
        return opened ? opened.take() : nullptr;
    }
    QString why(const ConvertPage* convert) const { return convert->optionsStep()->obstacle(convert->draft(), convert->facts()); }
};

TEST_F(MindSporeGoalTest, EightRanksBecomeFour)
{
    ConvertPage* convert = opened();
    ASSERT_EQ(convert->goalStep()->card("mindspore")->text(), "Other MindSpore strategy");
    EXPECT_TRUE(convert->goalStep()->card("mindspore")->isEnabled());
    EXPECT_EQ(convert->facts().source->pickleFiles, 0u);
    const QString strategy = strategyOf(MindSporeSample::four(), "four.ckpt");
    chooseStrategy(convert, strategy);
    EXPECT_EQ(why(convert), QString());
    const ConvertStrategyPreview* preview = convert->optionsStep()->preview();
    ASSERT_TRUE(waitFor([&] { return preview->needed()->model()->rowCount() == 4; })) << preview->neededText().toStdString();
    ASSERT_TRUE(preview->sourceMatrix()->map() && preview->targetMatrix()->map());
    EXPECT_EQ(preview->parameters()->currentText(), "embed.weight");
    EXPECT_EQ(preview->sourceMatrix()->map()->sentenceOf(5), "rank 5: [4:8, 0:12], same as rank 1");
    EXPECT_EQ(preview->targetMatrix()->map()->sentenceOf(1), "rank 1: [8:16, 0:12], same as rank 3");
    EXPECT_THAT(preview->neededText().toStdString(), HasSubstr("reads only the bytes"));
    pictures(QStringLiteral("mindspore-goal-options"));
    convert->optionsStep()->ensureWidgetVisible(preview->needed());
    pictures(QStringLiteral("mindspore-goal-needed"));
    const QString target = run(convert);
    OpenOptions by;
    by.sourceStrategy = strategy.toStdString();
    const CheckpointPtr made = readBack(target, by);
    ASSERT_TRUE(made);
    EXPECT_EQ(made->topology().worldSize(), 4u);
    EXPECT_EQ(made->tensors().size(), 4u);
    EXPECT_TRUE(std::filesystem::exists(target.toStdString() + "/rank_3/net_rank_3.ckpt"));
    m_window->showPage(QStringLiteral("jobs"));
    QPushButton* openResult = nullptr;
    for (QPushButton* button : m_window->findChild<JobDetail*>()->findChildren<QPushButton*>())
        if (button->text() == QLatin1String("Open result"))
            openResult = button;
    ASSERT_TRUE(openResult != nullptr && openResult->isVisible());
    openResult->click();
    ASSERT_TRUE(waitFor([&] { return m_window->currentWorkspace()->document()->path() == target && m_window->currentWorkspace()->document()->checkpoint() != nullptr; }));
    EXPECT_EQ(m_window->currentWorkspace()->document()->checkpoint()->tensors().size(), 4u) << "the result opens by its own strategy";
}

TEST_F(MindSporeGoalTest, TheWholeModelIsOneFileOfEitherContainer)
{
    ConvertPage* convert = opened();
    convert->setGoal(QStringLiteral("mindspore"));
    EXPECT_TRUE(convert->draft().target.endsWith(QLatin1String(".ckpt"))) << convert->draft().target.toStdString();
    convert->goTo(ConvertPage::Options);
    convert->optionsStep()->mindSpore()->container()->setCurrentIndex(2);
    EXPECT_TRUE(convert->draft().target.endsWith(QLatin1String(".safetensors"))) << convert->draft().target.toStdString();
    ASSERT_TRUE(waitFor([&] { return why(convert).isEmpty(); })) << why(convert).toStdString();
    EXPECT_FALSE(convert->optionsStep()->mindSpore()->rank()->isVisible()) << "one file has no ranks";
    picture(QStringLiteral("mindspore-goal-whole"));
    const CheckpointPtr made = readBack(run(convert), {});
    ASSERT_TRUE(made);
    EXPECT_EQ(made->tensors().size(), 4u);
}

TEST_F(MindSporeGoalTest, AnIndivisibleDimensionNamesTheParameterWhereTheStrategyIsChosen)
{
    ConvertPage* convert = opened();
    MindSporeSample three = MindSporeSample::four();
    for (MindSporeSample::Parameter& parameter : three.parameters)
        if (!parameter.layout.deviceMatrix.empty())
            parameter.layout.deviceMatrix = {2, 5};
    three.parameters[0].shape = {20, 12};
    three.parameters[1].shape = {10, 20};
    chooseStrategy(convert, strategyOf(three, "ten.ckpt"));
    EXPECT_THAT(why(convert).toStdString(), testing::AllOf(HasSubstr("embed.weight"), HasSubstr("16")));
    EXPECT_FALSE(convert->nextButton()->isEnabled());
    pictures(QStringLiteral("mindspore-goal-indivisible"));
}

TEST_F(MindSporeGoalTest, WhatIsNoStrategyIsSaidAtItsRow)
{
    ConvertPage* convert = opened();
    chooseStrategy(convert, QString::fromStdString(m_folder.file("runs/run/rank_0/net_rank_0.ckpt")));
    EXPECT_THAT(why(convert).toStdString(), HasSubstr("net_rank_0.ckpt"));
    EXPECT_FALSE(convert->nextButton()->isEnabled());
    EXPECT_FALSE(convert->optionsStep()->preview()->isVisible());
    picture(QStringLiteral("mindspore-goal-no-strategy"));
}

TEST_F(MindSporeGoalTest, OneRankIsWrittenAlone)
{
    ConvertPage* convert = opened();
    chooseStrategy(convert, strategyOf(MindSporeSample::four(), "four.ckpt"));
    EXPECT_EQ(convert->optionsStep()->mindSpore()->rank()->maximum(), 3);
    convert->optionsStep()->mindSpore()->rank()->setValue(2);
    convert->optionsStep()->mindSpore()->prefix()->setText(QStringLiteral("llama_"));
    EXPECT_EQ(convert->draft().rank, 2u);
    ASSERT_TRUE(waitFor([&] { return why(convert).isEmpty(); })) << why(convert).toStdString();
    const QString target = run(convert);
    EXPECT_TRUE(target.endsWith(QLatin1String("-rank2"))) << target.toStdString();
    EXPECT_TRUE(std::filesystem::exists(target.toStdString() + "/rank_2/llama_2.ckpt"));
    EXPECT_FALSE(std::filesystem::exists(target.toStdString() + "/rank_0"));
}

TEST_F(MindSporeGoalTest, OtherFormatsBecomeRanksOfMindSpore)
{
    ConvertPage* convert = openedAt(samplePath());
    EXPECT_EQ(convert->goalStep()->card("mindspore")->text(), "MindSpore ranks");
    convert->setGoal(QStringLiteral("mindspore"));
    convert->setTarget(QString::fromStdString(m_folder.file("out.ckpt")));
    convert->goTo(ConvertPage::Options);
    ASSERT_TRUE(waitFor([&] { return why(convert).isEmpty(); })) << why(convert).toStdString();
    EXPECT_FALSE(convert->optionsStep()->preview()->isVisible()) << "one model before and after";
    pictures(QStringLiteral("mindspore-goal-from-deepspeed"));
    const CheckpointPtr made = readBack(run(convert), {});
    ASSERT_TRUE(made);
    EXPECT_EQ(made->formatId(), "mindspore");
    EXPECT_EQ(made->tensors().size(), convert->facts().source->weights.tensorsInResult());
}

// A file of safetensors with the sample's tensors, all zero.
void writeSafetensors(const QString& path)
{
    const QByteArray header = R"({"embed.weight":{"dtype":"F32","shape":[16,12],"data_offsets":[0,768]},"extra":{"dtype":"F32","shape":[4],"data_offsets":[768,784]}})";
    QByteArray length(8, '\0');
    length[0] = static_cast<char>(header.size());
    QFile file(path);
    ASSERT_TRUE(file.open(QIODevice::WriteOnly));
    file.write(length + header + QByteArray(784, '\0'));
}

TEST_F(MindSporeGoalTest, OneModelIsCutForTheRanksOfAStrategy)
{
    const QString path = QString::fromStdString(m_folder.file("model.safetensors"));
    writeSafetensors(path);
    ConvertPage* convert = openedAt(path);
    const QString strategy = strategyOf(MindSporeSample::four(), "four.ckpt");
    chooseStrategy(convert, strategy);
    ASSERT_EQ(why(convert), QString());
    const ConvertStrategyPreview* preview = convert->optionsStep()->preview();
    ASSERT_TRUE(preview->isVisible());
    EXPECT_FALSE(preview->sourceMatrix()->isVisible()) << "one model has no devices";
    EXPECT_FALSE(preview->needed()->isVisible()) << "MindSpore's own transform does not read it";
    EXPECT_EQ(preview->targetMatrix()->map()->sentenceOf(3), "rank 3: [8:16, 0:12], same as rank 1");
    picture(QStringLiteral("mindspore-goal-from-one"));
    OpenOptions by;
    by.sourceStrategy = strategy.toStdString();
    const CheckpointPtr made = readBack(run(convert), by);
    ASSERT_TRUE(made);
    EXPECT_EQ(made->topology().worldSize(), 4u);
    EXPECT_EQ(made->tensors().size(), 2u);
}

TEST_F(MindSporeGoalTest, ThePlanIsShownAsForOtherGoals)
{
    ConvertPage* convert = opened();
    chooseStrategy(convert, strategyOf(MindSporeSample::four(), "four.json"));
    convert->goTo(ConvertPage::Plan);
    ASSERT_TRUE(waitFor([&] { return convert->planStep()->planned() != nullptr; }));
    EXPECT_TRUE(convert->planStep()->planned()->canStart()) << convert->planStep()->planned()->refusal.toStdString();
    EXPECT_EQ(convert->planStep()->planned()->plan->files.size(), 4u);
    pictures(QStringLiteral("mindspore-goal-plan"));
    convert->setTarget(convert->draft().target + QStringLiteral(".ckpt"));
    EXPECT_THAT(convert->nextButton()->toolTip().toStdString(), HasSubstr("folder of files"));
}

TEST_F(MindSporeGoalTest, WithoutTheSourcesStrategyTheGoalWaits)
{
    MindSporeSample::eight().writeRun(m_folder.file("runs/run"));
    ConvertPage* convert = openedAt(QString::fromStdString(m_folder.file("runs/run")));
    EXPECT_FALSE(convert->goalStep()->card("mindspore")->isEnabled());
    EXPECT_THAT(convert->goalStep()->card("mindspore")->sentence().toStdString(), HasSubstr("strategy of these rank folders is not known"));
    convert->goTo(ConvertPage::Check);
    QCoreApplication::processEvents();
    picture(QStringLiteral("mindspore-goal-check"));
    const QString strategy = strategyOf(MindSporeSample::eight(), "eight.ckpt");
    m_window->currentWorkspace()->useStrategy(strategy);
    ASSERT_TRUE(waitFor([&] { return m_window->currentWorkspace()->document()->options().sourceStrategy.has_value(); }));
    convert = page<ConvertPage>();
    ASSERT_TRUE(waitFor([&] { return convert->goalStep()->card("mindspore")->isEnabled(); }));
    convert->setGoal(QStringLiteral("mindspore"));
    EXPECT_THAT(convert->copyText(false).toStdString(), HasSubstr("--source-strategy " + strategy.toStdString()));
    const CheckpointPtr made = readBack(run(convert), {});
    ASSERT_TRUE(made);
    EXPECT_EQ(made->tensors().size(), 4u) << "the job opened the source as the window did";
}

TEST_F(MindSporeGoalTest, JobFilesKeepEveryMember)
{
    ConvertPage* convert = opened();
    chooseStrategy(convert, strategyOf(MindSporeSample::four(), "four.ckpt"));
    ConvertMindSporeOptions* options = convert->optionsStep()->mindSpore();
    options->container()->setCurrentIndex(2);
    options->prefix()->setText(QStringLiteral("net_"));
    options->rank()->setValue(1);
    const ConvertRequest request = requestOf(convert->draft());
    EXPECT_EQ(request.outputFormat, "safetensors");
    EXPECT_EQ(request.prefix, "net_");
    EXPECT_EQ(request.rank, 1u);
    const QString path = QString::fromStdString(m_folder.file("job.json"));
    ASSERT_EQ(writeJobFile(path, request), QString());
    const auto read = readJobFile(path);
    ASSERT_TRUE(read) << read.error().text();
    EXPECT_EQ(*read, request);
    JobDraft fresh;
    fresh.source = request.source;
    fresh.sourceIsMindSpore = true;
    const auto draft = draftOf(*read, fresh, *convert->document()->checkpoint());
    ASSERT_TRUE(draft) << draft.error().text();
    EXPECT_EQ(requestOf(*draft), request);
    convert->openJobFile(path);
    EXPECT_EQ(requestOf(convert->draft()), request);
}

TEST_F(MindSporeGoalTest, JobFilesOfAnotherReadingAreRefusedByName)
{
    ConvertPage* convert = opened();
    const Checkpoint& checkpoint = *convert->document()->checkpoint();
    ConvertRequest request;
    request.source = checkpoint.path();
    request.target = m_folder.file("out.ckpt");
    request.to = "mindspore";
    EXPECT_TRUE(draftOf(request, convert->draft(), checkpoint));
    request.open.sourceStrategy = m_folder.file("runs/run/strategy.ckpt");
    EXPECT_TRUE(draftOf(request, convert->draft(), checkpoint)) << "the one that is in use";
    request.open.sourceStrategy = "/other/strategy.ckpt";
    EXPECT_THAT(draftOf(request, convert->draft(), checkpoint).error().text(), HasSubstr("/other/strategy.ckpt"));
    request.open.sourceStrategy.reset();
    request.open.rankFiles[3] = "/other/three.ckpt";
    EXPECT_THAT(draftOf(request, convert->draft(), checkpoint).error().text(), HasSubstr("rank_files"));
    request.open.rankFiles.clear();
    for (const auto& [member, change] : std::vector<std::pair<std::string, std::function<void(ConvertRequest&)>>>{
             {"prefix", [](ConvertRequest& one) { one.prefix = "x_"; }},
             {"rank", [](ConvertRequest& one) { one.rank = 1; }},
             {"dtype", [](ConvertRequest& one) { one.dtype = DType::F16; }},
             {"output_format", [](ConvertRequest& one) { one.outputFormat = "safetensors"; }}}) {
        ConvertRequest other = request;
        change(other);
        const auto draft = draftOf(other, convert->draft(), checkpoint);
        ASSERT_FALSE(draft) << member;
        EXPECT_THAT(draft.error().text(), HasSubstr("member " + member)) << "a whole model in a .ckpt file has none";
    }
    request.to = "safetensors";
    request.target = m_folder.file("out");
    request.strategy = "/other/strategy.ckpt";
    EXPECT_THAT(draftOf(request, convert->draft(), checkpoint).error().text(), HasSubstr("member strategy"));
}

TEST_F(MindSporeGoalTest, TheOverviewOffersTheGoal)
{
    opened();
    m_window->showPage(QStringLiteral("overview"));
    GoalButton* goal = nullptr;
    ASSERT_TRUE(waitFor([&] {
        for (GoalButton* button : m_window->currentWorkspace()->currentPage()->findChildren<GoalButton*>())
            if (button->isVisible() && button->accessibleName().contains(QStringLiteral("MindSpore strategy")))
                goal = button;
        return goal != nullptr;
    }));
    goal->click();
    EXPECT_EQ(page<ConvertPage>()->draft().format, "mindspore");
}

TEST(NeededRanks, AreListedForEveryTargetRankOrRefused)
{
    const auto source = std::make_shared<const mindspore::Strategy>(MindSporeSample::eight().strategy());
    const auto target = std::make_shared<const mindspore::Strategy>(MindSporeSample::four().strategy());
    const NeededList list = neededRanks(source, target, {});
    ASSERT_EQ(list.lines.size(), 4u) << list.refusal.toStdString();
    for (const NeededList::Line& line : list.lines)
        EXPECT_GT(line.count, 0u);
    EXPECT_EQ(neededRanks(source, nullptr, {}).lines.size(), 1u);
    EXPECT_EQ(neededRanks(source, nullptr, {}).lines[0].ranks, "0, 1, 2, 3, 4, 5, 6 and 7");
    const auto three = std::make_shared<const mindspore::Strategy>(MindSporeSample::of({3}, {9}, {{0}}).strategy());
    const NeededList refused = neededRanks(source, three, {});
    EXPECT_TRUE(refused.lines.empty());
    EXPECT_FALSE(refused.refusal.isEmpty());
}

} // namespace
} // namespace shardlens::ui::test
