#include "ui/jobs/job_protocol.h"
#include "ui/jobs/job_rate.h"
#include "ui/jobs/stage_rates.h"
#include "ui/widgets/text_label.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

// What limits a job: the time its threads spend in reading, computing and writing.
namespace shardlens::ui::test {
namespace {

using ::testing::DoubleEq;
using ::testing::HasSubstr;

TEST(StageRates, AreOfOneThreadAndNothingWhereNoTimeWasSpent)
{
    const auto rates = stageRatesOf({{2'000'000'000, 1'000'000'000, 1'000'000'000}, 4'000'000'000, 500'000'000});
    EXPECT_THAT(rates[0].share, DoubleEq(0.5));
    EXPECT_THAT(rates[0].bytesPerSecond, DoubleEq(2e9));
    EXPECT_THAT(rates[1].bytesPerSecond, DoubleEq(4e9)) << "computing takes what was read";
    EXPECT_THAT(rates[2].share, DoubleEq(0.25));
    EXPECT_THAT(rates[2].bytesPerSecond, DoubleEq(5e8));
    EXPECT_EQ(stageRatesOf({})[0].share, 0);
    EXPECT_EQ(stageRatesOf({{1'000, 1, 1'000}, 1'000, 1'000})[1].bytesPerSecond, 0) << "of so little time a rate says nothing";
}

TEST(StageRates, ProgressAndReportSayTheTimes)
{
    const auto progress = parseJobEvent(R"({"event": "progress", "phase": "copy", "read_ns": 5, "compute_ns": 6, "write_ns": 7})");
    ASSERT_TRUE(progress);
    EXPECT_EQ(std::get<JobProgress>(*progress).stages.computeNs, 6u);
    JobReport report;
    report.stages = {1, 2, 3};
    const auto back = parseJobEvent(jobReportToJson(report));
    ASSERT_TRUE(back);
    EXPECT_EQ(std::get<JobReport>(*back).stages.readNs, 1u);
    EXPECT_EQ(std::get<JobReport>(*back).stages.writeNs, 3u);
    const auto old = parseJobEvent(R"({"event": "report", "outcome": "done", "stages": 5})");
    ASSERT_TRUE(old);
    EXPECT_EQ(std::get<JobReport>(*old).stages.all(), 0u);
}

TEST(StageRates, AJobsAreOfItsLastSecond)
{
    JobRate rate;
    JobProgress progress;
    for (int i = 0; i <= 40; ++i) {
        const double now = 0.1 * i;
        progress.done = progress.bytesRead = progress.bytesWritten = static_cast<std::uint64_t>(i) * 1'000'000;
        progress.stages.readNs += i < 20 ? 90'000'000u : 10'000'000u; // reading first, computing later
        progress.stages.computeNs += i < 20 ? 10'000'000u : 90'000'000u;
        rate.report(now, progress);
        rate.tick(now);
        if (i == 15) {
            EXPECT_GT(rate.stages().stages.readNs, 8 * rate.stages().stages.computeNs);
        }
    }
    EXPECT_GT(rate.stages().stages.computeNs, 8 * rate.stages().stages.readNs);
    EXPECT_NEAR(static_cast<double>(rate.stages().bytesRead), 1e7, 1e6);
}

TEST(StageRates, TheRowSaysWhatLimits)
{
    StageRates row;
    row.setSpan({{1'000'000'000, 3'000'000'000, 1'000'000'000}, 2'000'000'000, 1'000'000'000});
    QStringList texts;
    for (const auto* label : row.findChildren<TextLabel*>())
        texts << label->text();
    const std::string all = texts.join('\n').toStdString();
    EXPECT_THAT(all, HasSubstr("60 % of the time: the limit"));
    EXPECT_THAT(all, HasSubstr("Reading: 2.00 GB/s a thread"));
    EXPECT_FALSE(row.isHidden());
    row.setSpan({});
    EXPECT_TRUE(row.isHidden());
}

} // namespace
} // namespace shardlens::ui::test
