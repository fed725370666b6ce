#include "core/job/job_context.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <thread>

namespace shardlens {
namespace {

TEST(JobContext, PollFailsFromTheMomentSomebodyStopsIt)
{
    std::stop_source stop;
    const JobContext job(stop.get_token());
    EXPECT_TRUE(job.poll());
    EXPECT_FALSE(job.stopRequested());
    stop.request_stop();
    const Status status = job.poll();
    ASSERT_FALSE(status);
    EXPECT_EQ(status.error().code(), ErrorCode::Cancelled);
    EXPECT_TRUE(job.stopRequested());
}

TEST(JobContext, WithoutATokenNothingStopsIt)
{
    const JobContext job;
    EXPECT_TRUE(job.poll());
}

TEST(JobContext, CountsAndWarnsFromSeveralThreads)
{
    JobContext job;
    job.setTotal(4000);
    std::vector<std::thread> threads;
    for (int i = 0; i < 4; ++i)
        threads.emplace_back([&job] {
            for (int step = 0; step < 1000; ++step)
                job.advance(1);
            job.warn("a remark");
        });
    for (std::thread& thread : threads)
        thread.join();
    EXPECT_EQ(job.progress().done, 4000u);
    EXPECT_EQ(job.progress().total, 4000u);
    EXPECT_THAT(job.warnings(), testing::ElementsAre("a remark", "a remark", "a remark", "a remark"));
}

} // namespace
} // namespace shardlens
