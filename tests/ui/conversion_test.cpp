#include "core/format/format.h"
#include "tests/support/zero_test_run.h"
#include "tests/ui/ui_fixture.h"
#include "ui/jobs/stage_rates.h"
#include "ui/pages/convert_draft.h"
#include "ui/pages/convert_page.h"
#include "ui/pages/convert_plan_step.h"

#include <gmock/gmock.h>

#include <QLabel>
#include <QPushButton>
#include <QTest>

#include <filesystem>

namespace shardlens::ui::test {
namespace {

// Conversions from the convert page, by the real program in a child process.
class ConversionTest : public WindowTest {
protected:
    // The convert page of `source`, planned and ready to start.
    ConvertPage* planned(const QString& source, const QString& target)
    {
        open(source, QStringLiteral("convert"));
        auto* convert = page<ConvertPage>();
        convert->setTarget(target);
        while (convert->step() != ConvertPage::Plan) {
            const auto before = convert->step();
            if (!waitFor([&] { return convert->nextButton()->isEnabled(); }))
                return nullptr;
            QTest::mouseClick(convert->nextButton(), Qt::LeftButton);
            picture(QStringLiteral("convert-%1").arg(convert->step()));
            if (convert->step() == before)
                return nullptr;
        }
        if (!waitFor([&] { return convert->planStep()->planned() != nullptr && convert->nextButton()->isEnabled(); }))
            return nullptr;
        picture(QStringLiteral("convert-plan"));
        return convert;
    }

    // A run whose conversion takes long enough to be stopped: 512 MB, as holes in its files.
    QString slowSource()
    {
        shardlens::test::ZeroTestRun run;
        for (int layer = 0; layer < 64; ++layer)
            run.parameters.push_back({"layers." + std::to_string(layer) + ".weight", {1000, 2000}, 0});
        run.sparse = true;
        run.write(m_folder.file("slow"), "global_step7");
        return QString::fromStdString(m_folder.file("slow"));
    }
};

// "These files hold no pickles" is said of safetensors alone.
TEST_F(ConversionTest, EveryContainerButSafetensorsHoldsPickles)
{
    const auto pickleFilesOf = [](const std::string& path) {
        JobContext job;
        const auto checkpoint = openCheckpoint(path, {}, job);
        EXPECT_TRUE(checkpoint.ok());
        return checkpoint ? factsOf(**checkpoint, {}).pickleFiles : 99;
    };
    const std::string files = SHARDLENS_SAMPLE "/../../tests/core/format/files/";
    EXPECT_EQ(pickleFilesOf(files + "scripted.pt"), 1u);
    EXPECT_EQ(pickleFilesOf(files + "bare4.pkl"), 1u);
    EXPECT_EQ(pickleFilesOf(files + "views.pt"), 1u);
}

TEST_F(ConversionTest, RunsToTheEndAndTheResultOpens)
{
    const QString target = QString::fromStdString(m_folder.file("out"));
    ConvertPage* convert = planned(samplePath(), target);
    ASSERT_NE(convert, nullptr);
    QTest::mouseClick(convert->nextButton(), Qt::LeftButton);
    Job* job = convert->job();
    ASSERT_NE(job, nullptr);
    ASSERT_TRUE(waitFor([&] { return job->isOver(); }));
    EXPECT_EQ(job->state(), Job::State::Done) << job->report().error.toStdString();
    EXPECT_TRUE(job->report().verified);
    EXPECT_TRUE(std::filesystem::exists(m_folder.path() / "out"));
    QCoreApplication::processEvents();
    picture(QStringLiteral("job-done"));
    Workspace* result = open(target);
    EXPECT_EQ(result->document()->checkpoint()->parameters().size(), 15u); // safetensors knows no ties: head.weight has values of its own
}

TEST_F(ConversionTest, ACancelledJobLeavesNothing)
{
    ConvertPage* convert = planned(slowSource(), QString::fromStdString(m_folder.file("out.safetensors")));
    ASSERT_NE(convert, nullptr);
    QTest::mouseClick(convert->nextButton(), Qt::LeftButton);
    Job* job = convert->job();
    ASSERT_NE(job, nullptr);
    ASSERT_TRUE(waitFor([&] { return job->progress().done > 0 || job->isOver(); }));
    picture(QStringLiteral("job-running"));
    const auto* const stages = m_window->findChild<StageRates*>();
    ASSERT_NE(stages, nullptr);
    EXPECT_TRUE(waitFor([&] { return stages->isVisible() || job->isOver(); }));
    pictures(QStringLiteral("job-stages"));
    m_queue->cancel(job);
    ASSERT_TRUE(waitFor([&] { return job->isOver(); }));
    EXPECT_EQ(job->state(), Job::State::Cancelled) << job->report().error.toStdString();
    EXPECT_FALSE(std::filesystem::exists(m_folder.path() / "out.safetensors"));
    for (const auto& entry : std::filesystem::directory_iterator(m_folder.path()))
        EXPECT_EQ(entry.path().filename(), "slow") << "left behind";
}

TEST_F(ConversionTest, AnExistingTargetIsRefusedBeforeItStarts)
{
    std::filesystem::create_directories(m_folder.path() / "there/something");
    open(samplePath(), QStringLiteral("convert"));
    auto* convert = page<ConvertPage>();
    ASSERT_NE(convert, nullptr);
    convert->setTarget(QString::fromStdString(m_folder.file("there")));
    convert->goTo(ConvertPage::Plan);
    ASSERT_TRUE(waitFor([&] { return convert->planStep()->planned() != nullptr; }));
    EXPECT_FALSE(convert->nextButton()->isEnabled());
    EXPECT_THAT(convert->nextButton()->toolTip().toStdString(), testing::HasSubstr("exists"));
    EXPECT_EQ(convert->job(), nullptr);
    const auto labels = convert->findChildren<QLabel*>();
    EXPECT_TRUE(std::any_of(labels.begin(), labels.end(), [&](const QLabel* label) {
        const bool isWhole = label->visibleRegion().boundingRect().height() == label->height();
        return label->isVisible() && isWhole && label->text() == convert->planStep()->planned()->refusal;
    })) << "the reason stands beside the button";
    picture(QStringLiteral("convert-refused"));
}

TEST_F(ConversionTest, AGoalOfTheOverviewIsTakenOver)
{
    Workspace* workspace = open(samplePath());
    emit workspace->document()->convertRequested(QStringLiteral("torch"));
    auto* convert = page<ConvertPage>();
    ASSERT_NE(convert, nullptr);
    EXPECT_EQ(convert->draft().format, "torch");
    EXPECT_NE(convert->step(), ConvertPage::Goal);
}

} // namespace
} // namespace shardlens::ui::test
