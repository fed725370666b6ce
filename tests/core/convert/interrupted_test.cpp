#include "tests/core/convert/convert_fixture.h"

#include <gmock/gmock.h>

#include <csignal>
#include <filesystem>
#include <fstream>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

namespace shardlens::test {
namespace {

namespace fs = std::filesystem;
using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::SizeIs;

// A job of a dozen blocks from which something is taken away while it runs.
class InterruptedTest : public ConvertTest {
protected:
    void SetUp() override
    {
        writeRun(10'000);
        m_source = openRun();
        m_before = contentsOf(m_source);
        m_request = request("out");
        m_request.memoryLimit = kSmallMemory;
        m_request.maxShardBytes = 600'000;
        m_request.verify = true;
    }
    // Executes with something done before each piece of work; steps are counted over all rounds.
    Result<ConvertReport> execute(JobContext& job, const std::function<void(std::size_t step)>& before)
    {
        auto made = plan(m_source, m_request);
        if (!made)
            return made.takeError();
        std::size_t steps = 0;
        ScriptedExecutor executor([&](std::size_t) { before(steps++); });
        auto report = executePlan(*made, executor, job);
        m_steps = steps;
        return report;
    }

    CheckpointPtr m_source;
    std::vector<std::string> m_before;
    ConvertRequest m_request;
    std::size_t m_steps = 0;
};

TEST_F(InterruptedTest, ACancelAtAnyMomentLeavesNothing)
{
    JobContext whole;
    ASSERT_TRUE(execute(whole, [](std::size_t) {}).ok());
    const std::size_t steps = m_steps;
    ASSERT_GT(steps, 10u);
    EXPECT_THAT(names(), ElementsAre("out", "run"));
    fs::remove_all(path("out"));
    for (std::size_t cancelAt = 0; cancelAt < steps; ++cancelAt) {
        std::stop_source stop;
        JobContext job(stop.get_token());
        const auto report = execute(job, [&](std::size_t step) {
            if (step == cancelAt)
                stop.request_stop();
        });
        ASSERT_FALSE(report) << cancelAt;
        EXPECT_EQ(report.error().code(), ErrorCode::Cancelled);
        EXPECT_THAT(names(), ElementsAre("run")) << cancelAt;
    }
    EXPECT_EQ(contentsOf(path("run")), m_before);
}

TEST_F(InterruptedTest, ACancelBeforeTheStartLeavesNothing)
{
    std::stop_source stop;
    stop.request_stop();
    JobContext job(stop.get_token());
    const auto made = planConversion(m_source, m_request, job);
    ASSERT_FALSE(made);
    EXPECT_EQ(made.error().code(), ErrorCode::Cancelled);
}

TEST_F(InterruptedTest, AKilledProcessLeavesNothingUnderTheTargetsNameAndTheNextRunCleansUp)
{
    for (const std::size_t killAt : {0u, 3u, 20u}) {
        const pid_t child = ::fork();
        if (child == 0) {
            JobContext job;
            static_cast<void>(execute(job, [killAt](std::size_t step) {
                if (step == killAt)
                    ::kill(::getpid(), SIGKILL);
            }));
            std::_Exit(0);
        }
        int status = 0;
        ASSERT_EQ(::waitpid(child, &status, 0), child);
        ASSERT_TRUE(WIFSIGNALED(status));
        EXPECT_FALSE(fs::exists(path("out")));
        EXPECT_THAT(names(), SizeIs(2)); // the run, and what was left
        EXPECT_THAT(names().front(), ::testing::StartsWith(".out.shardlens-"));
    }
    JobContext job;
    ASSERT_TRUE(execute(job, [](std::size_t) {}).ok());
    EXPECT_THAT(names(), ElementsAre("out", "run"));
    EXPECT_EQ(contentsOf(path("out")), m_before);
}

struct Change {
    const char* name;
    void (*apply)(const fs::path& file);
    const char* says;
};

class SourceThatChanges : public InterruptedTest, public ::testing::WithParamInterface<Change> {};

TEST_P(SourceThatChanges, StopsTheJob)
{
    const fs::path file = path("run/step3/mp_rank_00_model_states.pt"); // read when it was opened, not while copying
    JobContext job;
    const auto report = execute(job, [&](std::size_t step) {
        if (step == 2)
            GetParam().apply(file);
    });
    ASSERT_FALSE(report);
    EXPECT_EQ(report.error().code(), ErrorCode::Io);
    EXPECT_THAT(report.error().text(), AllOf(HasSubstr("mp_rank_00_model_states.pt"), HasSubstr(GetParam().says)));
    EXPECT_THAT(names(), ElementsAre("run"));
}

INSTANTIATE_TEST_SUITE_P(Ways, SourceThatChanges,
                         ::testing::Values(Change{"Grows", [](const fs::path& file) { fs::resize_file(file, fs::file_size(file) + 1); }, "changed since the plan: "},
                                           Change{"IsWrittenAgain",
                                                  [](const fs::path& file) { fs::last_write_time(file, fs::last_write_time(file) + std::chrono::seconds(2)); },
                                                  "changed since the plan: it was written again"},
                                           Change{"IsSwappedForOneOfTheSameSizeAndTime",
                                                  [](const fs::path& file) {
                                                      const auto when = fs::last_write_time(file);
                                                      const fs::path other = file.string() + ".other";
                                                      fs::copy_file(file, other);
                                                      fs::last_write_time(other, when);
                                                      fs::rename(other, file);
                                                  },
                                                  "changed since the plan: another file has its name"},
                                           Change{"Goes", [](const fs::path& file) { fs::remove(file); }, "it is gone"}),
                         [](const auto& row) { return std::string(row.param.name); });

TEST_F(InterruptedTest, ATargetThatAppearsMeanwhileIsLeftAlone)
{
    JobContext job;
    const auto report = execute(job, [&](std::size_t step) {
        if (step == 2)
            std::ofstream(path("out")) << "theirs";
    });
    ASSERT_FALSE(report);
    EXPECT_THAT(report.error().text(), AllOf(HasSubstr(path("out")), HasSubstr("it exists")));
    EXPECT_EQ(readText(path("out")), "theirs");
    EXPECT_THAT(names(), ElementsAre("out", "run"));
}

TEST_F(InterruptedTest, ADiskThatIsTooFullIsSaidBeforeTheFirstByte)
{
    fs::create_directory(path("disk"));
    if (::mount("none", path("disk").c_str(), "tmpfs", 0, "size=300k") != 0)
        GTEST_SKIP() << "Skipped: this user may not mount a small file system";
    m_request.target = path("disk/out");
    JobContext job;
    const auto report = execute(job, [](std::size_t) { ADD_FAILURE() << "something was written"; });
    const bool empty = fs::is_empty(path("disk"));
    ::umount(path("disk").c_str());
    ASSERT_FALSE(report);
    EXPECT_THAT(report.error().sentence(), AllOf(HasSubstr("the disk is too full: "), HasSubstr(" needed, "), HasSubstr(" free")));
    EXPECT_TRUE(empty);
}

TEST_F(InterruptedTest, ADiskThatBecomesFullLeavesNothing)
{
    fs::create_directory(path("disk"));
    if (::mount("none", path("disk").c_str(), "tmpfs", 0, "size=2m") != 0)
        GTEST_SKIP() << "Skipped: this user may not mount a small file system";
    m_request.target = path("disk/out");
    JobContext job;
    const auto report = execute(job, [&](std::size_t step) {
        if (step == 0)
            std::ofstream(path("disk/other")) << std::string(1'700'000, 'x');
    });
    fs::remove(path("disk/other"));
    const bool empty = fs::is_empty(path("disk"));
    ::umount(path("disk").c_str());
    ASSERT_FALSE(report);
    EXPECT_THAT(report.error().sentence(), AllOf(HasSubstr("model-00001-of-00002.safetensors"), HasSubstr("the disk is too full")));
    EXPECT_TRUE(empty);
}

// In a process of its own, because a limit cannot be taken back.
TEST_F(InterruptedTest, AUsersLimitOnFileSizesLeavesNothing)
{
    const pid_t child = ::fork();
    if (child == 0) {
        std::signal(SIGXFSZ, SIG_IGN);
        const rlimit limit{100'000, 100'000};
        ::setrlimit(RLIMIT_FSIZE, &limit);
        JobContext job;
        const auto report = execute(job, [](std::size_t) {});
        std::_Exit(!report && report.error().text().find("user's limit") != std::string::npos ? 42 : 1);
    }
    int status = 0;
    ASSERT_EQ(::waitpid(child, &status, 0), child);
    EXPECT_EQ(WEXITSTATUS(status), 42);
    EXPECT_THAT(names(), ElementsAre("run"));
}

} // namespace
} // namespace shardlens::test
