#include "core/job/executor.h"

#include "core/job/job_context.h"

#include <gtest/gtest.h>

#include <atomic>
#include <mutex>
#include <semaphore>
#include <set>
#include <vector>

namespace shardlens {
namespace {

struct Kind {
    const char* name;
    std::size_t threads; // 0: the inline one
};

class ExecutorTest : public testing::TestWithParam<Kind> {
protected:
    std::unique_ptr<Executor> m_executor =
        GetParam().threads == 0 ? std::make_unique<InlineExecutor>() : makeThreadedExecutor(GetParam().threads);
};

TEST_P(ExecutorTest, RunsEveryIndexOnce)
{
    constexpr std::size_t kCount = 5000;
    std::vector<std::atomic<int>> runs(kCount);
    EXPECT_TRUE(m_executor->forEach(kCount, [&](std::size_t index) -> Status {
        ++runs[index];
        return {};
    }));
    for (std::size_t index = 0; index < kCount; ++index)
        ASSERT_EQ(runs[index], 1) << index;
}

TEST_P(ExecutorTest, NothingToDoIsDone)
{
    EXPECT_TRUE(m_executor->forEach(0, [](std::size_t) -> Status { return Error{ErrorCode::Io, "not called"}; }));
}

TEST_P(ExecutorTest, FirstFailureStopsTheHandOut)
{
    std::atomic<std::size_t> started{0};
    const Status status = m_executor->forEach(1'000'000, [&](std::size_t index) -> Status {
        ++started;
        if (index == 10)
            return Error{ErrorCode::Io, "index 10"};
        return {};
    });
    ASSERT_FALSE(status);
    EXPECT_EQ(status.error().text(), "index 10");
    EXPECT_LT(started, 1'000'000u);
}

TEST_P(ExecutorTest, CancelEndsTheWork)
{
    std::stop_source stop;
    JobContext job(stop.get_token());
    std::atomic<std::size_t> done{0};
    const Status status = m_executor->forEach(1'000'000, [&](std::size_t index) -> Status {
        if (index == 5)
            stop.request_stop();
        SHARDLENS_TRY(job.poll());
        ++done;
        return {};
    });
    ASSERT_FALSE(status);
    EXPECT_EQ(status.error().code(), ErrorCode::Cancelled);
    EXPECT_LT(done, 1'000'000u);
}

TEST_P(ExecutorTest, IsUsableAgainAfterAFailure)
{
    EXPECT_FALSE(m_executor->forEach(3, [](std::size_t) -> Status { return Error{ErrorCode::Io, "no"}; }));
    std::atomic<int> runs{0};
    EXPECT_TRUE(m_executor->forEach(3, [&](std::size_t) -> Status {
        ++runs;
        return {};
    }));
    EXPECT_EQ(runs, 3);
}

INSTANTIATE_TEST_SUITE_P(Kinds, ExecutorTest, testing::Values(Kind{"Inline", 0}, Kind{"OneThread", 1}, Kind{"FourThreads", 4}),
                         [](const auto& row) { return row.param.name; });

TEST(InlineExecutor, KeepsTheOrder)
{
    InlineExecutor executor;
    std::vector<std::size_t> order;
    EXPECT_TRUE(executor.forEach(4, [&](std::size_t index) -> Status {
        order.push_back(index);
        return {};
    }));
    EXPECT_EQ(order, (std::vector<std::size_t>{0, 1, 2, 3}));
}

TEST(ThreadedExecutor, NeverRunsMoreAtOnceThanItSays)
{
    const auto executor = makeThreadedExecutor(3);
    ASSERT_EQ(executor->concurrency(), 3u);
    std::atomic<int> running{0};
    std::atomic<int> most{0};
    EXPECT_TRUE(executor->forEach(3000, [&](std::size_t) -> Status {
        const int now = ++running;
        int seen = most.load();
        while (seen < now && !most.compare_exchange_weak(seen, now)) {
        }
        --running;
        return {};
    }));
    EXPECT_LE(most, 3);
    EXPECT_GE(most, 1);
}

TEST(ThreadedExecutor, ZeroThreadsIsOne)
{
    EXPECT_EQ(makeThreadedExecutor(0)->concurrency(), 1u);
    EXPECT_GE(availableThreads(), 1u);
}

} // namespace
} // namespace shardlens
