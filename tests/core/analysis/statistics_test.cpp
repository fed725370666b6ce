#include "core/analysis/statistics.h"

#include "tests/core/analysis/analysis_fixture.h"

#include <gmock/gmock.h>

#include <cstring>
#include <filesystem>

namespace shardlens::test {
namespace {

using ::testing::HasSubstr;

class StatisticsTest : public AnalysisTest {
protected:
    static Result<std::vector<TensorStatistics>> statistics(const CheckpointPtr& checkpoint, std::size_t threads, JobContext& job)
    {
        const auto executor = makeThreadedExecutor(threads);
        return statisticsOf(checkpoint, selectTensors(*checkpoint, {}), *executor, job);
    }

    // One vector of F32 that counts from 0 in steps of 1/8: 12 MiB · `times`.
    [[nodiscard]] CheckpointPtr counting(std::uint64_t count) const
    {
        std::string payload(count * 4, '\0');
        for (std::uint64_t i = 0; i < count; ++i) {
            const auto value = static_cast<float>(i) / 8;
            std::memcpy(payload.data() + 4 * i, &value, 4);
        }
        return made(payload, [&](CheckpointBuilder& builder, FileId file) {
            const TensorId tensor = builder.addTensor({builder.parameter("ramp"), builder.role(RoleKind::Weight, "weight"), DType::F32, Combine::Exclusive, true, {count}});
            ASSERT_TRUE(builder.addWhole(tensor, {builder.streamOf(file), 0, builder.holder({}), {}}));
        });
    }
};

TEST_F(StatisticsTest, AreOfEveryNameInTheModelsOrder)
{
    writeRun();
    JobContext job;
    const auto found = statistics(openRun(), 2, job);
    ASSERT_TRUE(found.ok()) << found.error().text();
    ASSERT_EQ(found->size(), 2u);
    EXPECT_EQ((*found)[0].name, "embed");
    EXPECT_EQ((*found)[0].values.values, 35u);
    EXPECT_EQ((*found)[1].name, "bias");
    EXPECT_EQ((*found)[1].values.values, 4u);
    EXPECT_TRUE((*found)[0].values.bins.empty());
    EXPECT_FALSE((*found)[0].histogram.empty());
    EXPECT_EQ(job.progress().done.load(), job.progress().total.load());
    EXPECT_EQ(job.progress().total.load(), 39u * 4);
}

TEST_F(StatisticsTest, DoNotDependOnTheNumberOfThreads)
{
    const CheckpointPtr checkpoint = counting(20'000'003); // several parts
    JobContext job;
    const auto one = statistics(checkpoint, 1, job);
    const auto four = statistics(checkpoint, 4, job);
    ASSERT_TRUE(one.ok() && four.ok());
    const ValueStatistics& values = one->front().values;
    EXPECT_EQ(values.mean, four->front().values.mean);
    EXPECT_EQ(values.squares, four->front().values.squares);
    EXPECT_EQ(values.values, 20'000'003u);
    EXPECT_EQ(values.max, static_cast<double>(static_cast<float>(20'000'002)) / 8);
    EXPECT_NEAR(values.mean, 20'000'002 / 16.0, 0.01);
    std::uint64_t sum = 0;
    for (const HistogramBin& bin : one->front().histogram)
        sum += bin.count;
    EXPECT_EQ(sum, values.values);
}

TEST_F(StatisticsTest, OfATensorWithoutValuesAreEmpty)
{
    const CheckpointPtr checkpoint = made("", [](CheckpointBuilder& builder, FileId file) {
        const TensorId tensor = builder.addTensor({builder.parameter("nothing"), builder.role(RoleKind::Weight, "weight"), DType::F32, Combine::Exclusive, true, {0, 4}});
        ASSERT_TRUE(builder.addWhole(tensor, {builder.streamOf(file), 0, builder.holder({}), {}}));
    });
    JobContext job;
    const auto found = statistics(checkpoint, 1, job);
    ASSERT_TRUE(found.ok());
    EXPECT_EQ(found->front().values.values, 0u);
    EXPECT_TRUE(found->front().histogram.empty());
}

TEST_F(StatisticsTest, NameWhatAMissingRankLeavesOut)
{
    writeRun();
    std::filesystem::remove(m_folder.path() / "run/step3/bf16_zero_pp_rank_1_mp_rank_00_optim_states.pt");
    JobContext job;
    const auto found = statistics(openRun(), 1, job);
    ASSERT_FALSE(found.ok());
    EXPECT_THAT(found.error().text(), HasSubstr("rank 1"));
}

TEST_F(StatisticsTest, StopWhenAsked)
{
    std::stop_source stop;
    stop.request_stop();
    JobContext job(stop.get_token());
    const auto found = statistics(counting(1'000), 2, job);
    ASSERT_FALSE(found.ok());
    EXPECT_EQ(found.error().code(), ErrorCode::Cancelled);
}

TEST_F(StatisticsTest, OfASampleReachFromTheFirstToTheLastBlock)
{
    constexpr std::uint64_t kCount = 1'000'000;
    const CheckpointPtr checkpoint = counting(kCount);
    JobContext job;
    const auto found = sampledStatistics(checkpoint, idAt<TensorId>(0), 256u << 10, job);
    ASSERT_TRUE(found.ok());
    EXPECT_EQ(found->values.min, 0);
    EXPECT_EQ(found->values.max, (kCount - 1) / 8.0);
    EXPECT_GT(found->values.values, 40'000u);
    EXPECT_LT(found->values.values, 70'000u);
    const auto all = sampledStatistics(checkpoint, idAt<TensorId>(0), 1u << 30, job);
    ASSERT_TRUE(all.ok());
    EXPECT_EQ(all->values.values, kCount);
    EXPECT_NEAR(all->values.mean, (kCount - 1) / 16.0, 1e-6);
}

} // namespace
} // namespace shardlens::test
