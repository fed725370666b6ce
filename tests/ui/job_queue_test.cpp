#include "tests/ui/ui_fixture.h"
#include "ui/jobs/job_queue.h"

#include <gmock/gmock.h>

#include <QCoreApplication>
#include <QSettings>
#include <QSignalSpy>

namespace shardlens::ui::test {
namespace {

// Jobs whose child plays a scenario (jobs_fake_child.cpp).
class JobQueueTest : public testing::Test {
protected:
    JobQueueTest() { m_queue.setProgram(QStringLiteral(SHARDLENS_FAKE_CHILD)); }

    Job* submit(const std::string& scenario)
    {
        JobSpec spec;
        spec.request.source = scenario;
        spec.request.target = "out-of-" + scenario;
        spec.title = QString::fromStdString(scenario);
        return m_queue.submit(std::move(spec));
    }

    Job* finished(const std::string& scenario)
    {
        Job* job = submit(scenario);
        EXPECT_TRUE(waitFor([&] { return job->isOver(); })) << scenario;
        return job;
    }

    JobQueue m_queue;
};

TEST_F(JobQueueTest, AJobThatEndsWellHasItsReport)
{
    const Job* job = finished("done");
    EXPECT_EQ(job->state(), Job::State::Done);
    EXPECT_EQ(job->report().bytesWritten, 4'000'000u);
    ASSERT_EQ(job->report().files.size(), 1u);
    EXPECT_EQ(job->report().files[0].name, "model.safetensors");
    ASSERT_EQ(job->report().lines.size(), 1u);
    EXPECT_EQ(job->report().lines[0].kind, JobReportLine::Kind::Dropped);
}

TEST_F(JobQueueTest, AKilledChildIsReported)
{
    const Job* job = finished("killed");
    EXPECT_EQ(job->state(), Job::State::Failed);
    EXPECT_THAT(job->report().error.toStdString(), testing::HasSubstr("signal 9"));
}

TEST_F(JobQueueTest, ACrashedChildIsReportedWithItsSignal)
{
    const Job* job = finished("faulty");
    EXPECT_EQ(job->state(), Job::State::Failed);
    EXPECT_THAT(job->report().error.toStdString(), testing::HasSubstr("11"));
}

TEST_F(JobQueueTest, AChildThatSaysNothingIsQuotedFromStandardError)
{
    const Job* job = finished("silent");
    EXPECT_EQ(job->state(), Job::State::Failed);
    EXPECT_THAT(job->report().error.toStdString(), testing::HasSubstr("the last words"));
}

TEST_F(JobQueueTest, ARefusalIsNoFailure)
{
    const Job* job = finished("refused");
    EXPECT_EQ(job->state(), Job::State::Refused);
    EXPECT_EQ(job->report().error.toStdString(), "Rank 1 has no optimizer file.");
}

TEST_F(JobQueueTest, GarbageOnTheWireIsLoggedAndHarmless)
{
    const Job* job = finished("garbage");
    EXPECT_EQ(job->state(), Job::State::Done);
    QStringList log;
    for (const JobLogEntry& entry : job->log())
        log << entry.text;
    EXPECT_TRUE(log.join('\n').contains(QStringLiteral("not JSON at all"))) << log.join('\n').toStdString();
    EXPECT_TRUE(log.join('\n').contains(QStringLiteral("a remark on standard error")));
}

TEST_F(JobQueueTest, LinesThatArriveInPiecesAreOneLine)
{
    const Job* job = finished("slow");
    EXPECT_EQ(job->state(), Job::State::Done);
    EXPECT_EQ(job->progress().bytesWritten, 1'000'000u);
}

TEST_F(JobQueueTest, CancellingStopsTheChild)
{
    Job* job = submit("endless");
    ASSERT_TRUE(waitFor([&] { return job->progress().done > 0; }));
    m_queue.cancel(job);
    EXPECT_EQ(job->state(), Job::State::Cancelling);
    ASSERT_TRUE(waitFor([&] { return job->isOver(); }));
    EXPECT_EQ(job->state(), Job::State::Cancelled);
}

TEST_F(JobQueueTest, ASecondCancelKillsAChildThatDoesNotListen)
{
    Job* job = submit("stubborn");
    ASSERT_TRUE(waitFor([&] { return job->progress().done > 0; }));
    m_queue.cancel(job);
    m_queue.cancel(job);
    ASSERT_TRUE(waitFor([&] { return job->isOver(); }));
    EXPECT_EQ(job->state(), Job::State::Cancelled);
}

TEST_F(JobQueueTest, OneRunsAndTheOthersWaitInOrder)
{
    Job* first = submit("endless");
    Job* second = submit("done");
    Job* third = submit("done");
    EXPECT_EQ(m_queue.badge(), 3);
    EXPECT_EQ(second->state(), Job::State::Waiting);
    m_queue.moveWaiting(third, 0);
    EXPECT_THAT(m_queue.waiting(), testing::ElementsAre(third, second));
    m_queue.cancel(second);
    EXPECT_EQ(second->state(), Job::State::Cancelled);
    m_queue.cancel(first);
    ASSERT_TRUE(waitFor([&] { return third->isOver(); }));
    EXPECT_EQ(third->state(), Job::State::Done);
    EXPECT_EQ(m_queue.badge(), 0);
}

TEST_F(JobQueueTest, WhilePausedNothingStarts)
{
    m_queue.setPaused(true);
    Job* job = submit("done");
    QCoreApplication::processEvents();
    EXPECT_EQ(job->state(), Job::State::Waiting);
    m_queue.setPaused(false);
    EXPECT_TRUE(waitFor([&] { return job->isOver(); }));
}

TEST_F(JobQueueTest, AProgramThatIsNotThereIsSaid)
{
    m_queue.setProgram(QStringLiteral("/nowhere/shardlens"));
    const Job* job = finished("done");
    EXPECT_EQ(job->state(), Job::State::Failed);
    EXPECT_THAT(job->report().error.toStdString(), testing::HasSubstr("did not start"));
}

TEST(JobHistoryTest, FinishedJobsOutliveTheQueue)
{
    QSettings settings;
    settings.clear();
    {
        JobQueue queue(&settings);
        queue.setProgram(QStringLiteral(SHARDLENS_FAKE_CHILD));
        JobSpec spec;
        spec.request.source = "done";
        spec.request.target = "kept";
        spec.title = QStringLiteral("kept job");
        const Job* job = queue.submit(std::move(spec));
        ASSERT_TRUE(waitFor([&] { return job->isOver(); }));
    }
    const JobQueue again(&settings);
    ASSERT_EQ(again.finished().size(), 1u);
    EXPECT_EQ(again.finished()[0]->title(), "kept job");
    EXPECT_EQ(again.finished()[0]->state(), Job::State::Done);
    EXPECT_EQ(again.finished()[0]->report().bytesWritten, 4'000'000u);
}

} // namespace
} // namespace shardlens::ui::test
