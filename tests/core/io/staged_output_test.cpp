#include "core/io/staged_output.h"

#include "tests/core/io/refused_call.h"
#include "tests/support/temporary_folder.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <csignal>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

namespace shardlens {
namespace {

namespace fs = std::filesystem;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

class StagedOutputTest : public ::testing::Test {
protected:
    // What lies in the folder, hidden things too, sorted.
    [[nodiscard]] std::vector<std::string> names() const
    {
        std::vector<std::string> out;
        for (const auto& entry : fs::directory_iterator(m_folder.path()))
            out.push_back(entry.path().filename());
        std::sort(out.begin(), out.end());
        return out;
    }
    [[nodiscard]] std::string content(const std::string& name) const
    {
        std::ifstream file(m_folder.file(name), std::ios::binary);
        return {std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
    }
    static void fill(const StagedOutput& staged, const std::string& name, const std::string& text)
    {
        std::ofstream(staged.contentFolder() + "/" + name) << text;
    }
    // What a killed process leaves; `owner` says who it was.
    void leaveOne(const std::string& owner) const
    {
        fs::create_directories(m_folder.file(".out.shardlens-0badcafe/content"));
        std::ofstream(m_folder.file(".out.shardlens-0badcafe/lock")) << owner;
    }
    [[nodiscard]] static std::string hostName()
    {
        std::array<char, 256> name{};
        return ::gethostname(name.data(), name.size() - 1) == 0 ? name.data() : "";
    }
    [[nodiscard]] StagedOutput::Options folderTarget() const { return {m_folder.file("out"), false, "0badcafe"}; }
    [[nodiscard]] StagedOutput::Options fileTarget() const { return {m_folder.file("out.bin"), true, "0badcafe"}; }

    test::TemporaryFolder m_folder;
};

TEST_F(StagedOutputTest, GivesAFolderItsNameInOneStep)
{
    {
        auto staged = StagedOutput::create(folderTarget());
        ASSERT_TRUE(staged);
        fill(*staged, "a", "one");
        EXPECT_FALSE(fs::exists(m_folder.file("out")));
        EXPECT_THAT(names(), ElementsAre(".out.shardlens-0badcafe"));
        ASSERT_TRUE(staged->publish(StagedOutput::Existing::Refuse));
    }
    EXPECT_THAT(names(), ElementsAre("out"));
    EXPECT_EQ(content("out/a"), "one");
}

TEST_F(StagedOutputTest, GivesAFileItsName)
{
    {
        auto staged = StagedOutput::create(fileTarget());
        ASSERT_TRUE(staged);
        fill(*staged, "out.bin", "one");
        EXPECT_EQ(staged->resultPath(), staged->contentFolder() + "/out.bin");
        ASSERT_TRUE(staged->publish(StagedOutput::Existing::Refuse));
    }
    EXPECT_THAT(names(), ElementsAre("out.bin"));
    EXPECT_EQ(content("out.bin"), "one");
}

TEST_F(StagedOutputTest, LeavesNothingWhereItIsNotPublished)
{
    {
        const auto staged = StagedOutput::create(folderTarget());
        ASSERT_TRUE(staged);
        fill(*staged, "a", "one");
    }
    EXPECT_THAT(names(), IsEmpty());
}

TEST_F(StagedOutputTest, LeavesATargetAloneThatAppearedMeanwhile)
{
    {
        auto staged = StagedOutput::create(fileTarget());
        ASSERT_TRUE(staged);
        fill(*staged, "out.bin", "new");
        std::ofstream(m_folder.file("out.bin")) << "theirs";
        const Status published = staged->publish(StagedOutput::Existing::Refuse);
        ASSERT_FALSE(published);
        EXPECT_EQ(published.error().code(), ErrorCode::Refused);
    }
    EXPECT_THAT(names(), ElementsAre("out.bin"));
    EXPECT_EQ(content("out.bin"), "theirs");
}

TEST_F(StagedOutputTest, TakesTheNameOfAnEmptyFolderAndOfNoOther)
{
    for (const char* inside : {"", "theirs"}) {
        fs::remove_all(m_folder.file("out"));
        fs::create_directories(m_folder.file("out"));
        if (*inside != '\0')
            std::ofstream(m_folder.file("out") + "/" + inside) << "x";
        auto staged = StagedOutput::create(folderTarget());
        ASSERT_TRUE(staged);
        fill(*staged, "a", "new");
        const Status published = staged->publish(StagedOutput::Existing::Refuse);
        EXPECT_EQ(published.ok(), *inside == '\0');
        EXPECT_EQ(fs::exists(m_folder.file("out/a")), published.ok());
        EXPECT_EQ(fs::exists(m_folder.file("out/theirs")), !published.ok());
        if (!published) {
            EXPECT_EQ(published.error().code(), ErrorCode::Refused);
        }
    }
    fs::remove_all(m_folder.file("out"));
    std::ofstream(m_folder.file("out")) << "a file";
    auto staged = StagedOutput::create(folderTarget());
    ASSERT_TRUE(staged);
    fill(*staged, "a", "new");
    const Status published = staged->publish(StagedOutput::Existing::Refuse);
    ASSERT_FALSE(published);
    EXPECT_EQ(published.error().code(), ErrorCode::Refused);
    EXPECT_EQ(content("out"), "a file");
}

// A folder that somebody made for himself alone, or for a group, stays that.
TEST_F(StagedOutputTest, KeepsTheModeOfAnEmptyFolder)
{
    for (const auto mode : {fs::perms::owner_all, fs::perms::owner_all | fs::perms::group_all | fs::perms::set_gid, fs::perms::owner_read | fs::perms::owner_exec}) {
        fs::remove_all(m_folder.file("out"));
        fs::create_directories(m_folder.file("out"));
        fs::permissions(m_folder.file("out"), mode);
        auto staged = StagedOutput::create(folderTarget());
        ASSERT_TRUE(staged);
        fill(*staged, "a", "new");
        ASSERT_TRUE(staged->publish(mode == fs::perms::owner_all ? StagedOutput::Existing::Replace : StagedOutput::Existing::Refuse));
        EXPECT_EQ(fs::status(m_folder.file("out")).permissions(), mode);
        EXPECT_TRUE(fs::exists(m_folder.file("out/a")));
        fs::permissions(m_folder.file("out"), fs::perms::owner_all);
    }
}

TEST_F(StagedOutputTest, TakesThePlaceOfWhatIsThereAndRemovesThat)
{
    fs::create_directories(m_folder.file("out/old"));
    {
        auto staged = StagedOutput::create(folderTarget());
        ASSERT_TRUE(staged);
        fill(*staged, "a", "new");
        ASSERT_TRUE(staged->publish(StagedOutput::Existing::Replace));
    }
    EXPECT_THAT(names(), ElementsAre("out"));
    EXPECT_EQ(content("out/a"), "new");
    EXPECT_FALSE(fs::exists(m_folder.file("out/old")));
}

TEST_F(StagedOutputTest, ReplacesAFolderByAFileAndNothingBySomething)
{
    fs::create_directories(m_folder.file("out.bin/old"));
    for (const char* text : {"first", "second"}) {
        auto staged = StagedOutput::create(fileTarget());
        ASSERT_TRUE(staged);
        fill(*staged, "out.bin", text);
        ASSERT_TRUE(staged->publish(StagedOutput::Existing::Replace));
        EXPECT_EQ(content("out.bin"), text);
        fs::remove(m_folder.file("out.bin"));
    }
}

TEST_F(StagedOutputTest, ReplacesALinkAndNotWhatItPointsTo)
{
    std::ofstream(m_folder.file("precious")) << "keep";
    fs::create_symlink("precious", m_folder.file("out.bin"));
    {
        auto staged = StagedOutput::create(fileTarget());
        ASSERT_TRUE(staged);
        fill(*staged, "out.bin", "new");
        ASSERT_TRUE(staged->publish(StagedOutput::Existing::Replace));
    }
    EXPECT_EQ(content("precious"), "keep");
    EXPECT_EQ(content("out.bin"), "new");
    EXPECT_FALSE(fs::is_symlink(m_folder.file("out.bin")));
}

TEST_F(StagedOutputTest, RefusesASecondProcessOnTheSameJob)
{
    const auto first = StagedOutput::create(folderTarget());
    ASSERT_TRUE(first);
    const auto second = StagedOutput::create(folderTarget());
    ASSERT_FALSE(second);
    EXPECT_EQ(second.error().code(), ErrorCode::Refused);
    EXPECT_THAT(second.error().text(), HasSubstr("process " + std::to_string(::getpid())));
    EXPECT_TRUE(fs::exists(first->contentFolder()));
}

TEST_F(StagedOutputTest, LetsAnotherJobForTheSameTargetWork)
{
    const auto first = StagedOutput::create(folderTarget());
    auto options = folderTarget();
    options.jobHash = "12345678";
    const auto second = StagedOutput::create(options);
    ASSERT_TRUE(first && second);
    EXPECT_TRUE(fs::exists(first->contentFolder()));
    EXPECT_TRUE(fs::exists(second->contentFolder()));
}

TEST_F(StagedOutputTest, RemovesWhatAKilledProcessLeft)
{
    const pid_t child = ::fork();
    if (child == 0) {
        const auto staged = StagedOutput::create(folderTarget());
        if (staged)
            fill(*staged, "half", "of it");
        ::kill(::getpid(), SIGKILL);
    }
    int status = 0;
    ASSERT_EQ(::waitpid(child, &status, 0), child);
    ASSERT_TRUE(WIFSIGNALED(status));
    EXPECT_THAT(names(), ElementsAre(".out.shardlens-0badcafe"));
    auto options = folderTarget();
    options.jobHash = "12345678"; // another job: what was left is removed all the same
    {
        const auto staged = StagedOutput::create(options);
        ASSERT_TRUE(staged);
        EXPECT_THAT(names(), ElementsAre(".out.shardlens-12345678"));
    }
    EXPECT_THAT(names(), IsEmpty());
}

TEST_F(StagedOutputTest, LeavesHiddenFoldersOfOtherTargetsAlone)
{
    fs::create_directories(m_folder.file(".other.shardlens-0badcafe/content"));
    fs::create_directories(m_folder.file(".out.shardlens")); // somebody's own
    EXPECT_EQ(removeStaleOutputs(m_folder.file("out")), 0u);
    EXPECT_THAT(names(), ElementsAre(".other.shardlens-0badcafe", ".out.shardlens"));
}

// Only what this program made is removed: its name to the digit, its lock, and nothing else inside.
TEST_F(StagedOutputTest, LeavesFoldersThatOnlyLookLikeItsOwn)
{
    const auto put = [&](const std::string& folder, const std::string& name) {
        fs::create_directories(m_folder.file(folder));
        std::ofstream(m_folder.file(folder + "/" + name)) << "precious";
    };
    put(".out.shardlens-backup", "notes.txt");
    put(".out.shardlens-0123abcd", "notes.txt");
    put(".out.shardlens-0123abce", "lock");
    std::ofstream(m_folder.file(".out.shardlens-0123abce/notes.txt")) << "precious";
    EXPECT_EQ(removeStaleOutputs(m_folder.file("out")), 0u);
    EXPECT_EQ(content(".out.shardlens-backup/notes.txt"), "precious");
    EXPECT_EQ(content(".out.shardlens-0123abcd/notes.txt"), "precious");
    EXPECT_EQ(content(".out.shardlens-0123abce/notes.txt"), "precious");
    const auto staged = StagedOutput::create({m_folder.file("out"), false, "0123abcd"});
    ASSERT_FALSE(staged);
    EXPECT_THAT(staged.error().text(), HasSubstr("holds something else"));
    EXPECT_EQ(content(".out.shardlens-0123abcd/notes.txt"), "precious");
}

TEST_F(StagedOutputTest, TakesAnEmptyFolderOfItsOwnNameForOneThatWasJustMade)
{
    fs::create_directories(m_folder.file(".out.shardlens-0badcafe"));
    const auto staged = StagedOutput::create(folderTarget());
    EXPECT_TRUE(staged.ok());
}

// Lustre without flock, some network and FUSE file systems.
class WithoutLocks : public StagedOutputTest, public ::testing::WithParamInterface<int> {};

TEST_P(WithoutLocks, WorksAndRefusesASecondProcessAndRemovesWhatAKilledOneLeft)
{
    const int answer = test::runWhereCallFails(SYS_flock, GetParam(), [&] {
        {
            auto first = StagedOutput::create(folderTarget());
            ASSERT_TRUE(first.ok()) << first.error().text();
            const auto second = StagedOutput::create(folderTarget());
            ASSERT_FALSE(second);
            EXPECT_THAT(second.error().text(), HasSubstr("process " + std::to_string(::getpid())));
            fill(*first, "a", "one");
            ASSERT_TRUE(first->publish(StagedOutput::Existing::Refuse));
        }
        EXPECT_THAT(names(), ElementsAre("out"));
        leaveOne("1 1 elsewhere.example"); // nobody here can say whether that process lives
        EXPECT_EQ(removeStaleOutputs(m_folder.file("out")), 0u);
        const auto theirs = StagedOutput::create(folderTarget());
        ASSERT_FALSE(theirs);
        EXPECT_THAT(theirs.error().text(), HasSubstr("process 1 on elsewhere.example"));
        leaveOne(""); // its maker has not come to writing it
        EXPECT_EQ(removeStaleOutputs(m_folder.file("out")), 0u);
        leaveOne("999999999 5 " + hostName()); // no number that Linux gives
        EXPECT_EQ(removeStaleOutputs(m_folder.file("out")), 1u);
        leaveOne(std::to_string(::getpid()) + " 5 " + hostName()); // a number that was given again
        EXPECT_EQ(removeStaleOutputs(m_folder.file("out")), 1u);
        EXPECT_THAT(names(), ElementsAre("out"));
    });
    if (answer == test::kNoFilter)
        GTEST_SKIP() << "Skipped: system calls cannot be made to fail here";
    EXPECT_EQ(answer, 0);
}

INSTANTIATE_TEST_SUITE_P(Numbers, WithoutLocks, ::testing::Values(ENOSYS, EOPNOTSUPP, ENOLCK), [](const auto& row) { return "Errno" + std::to_string(row.param); });

TEST_F(StagedOutputTest, LeavesNothingWhereTheLockFails)
{
    const int answer = test::runWhereCallFails(SYS_flock, EIO, [&] {
        const auto staged = StagedOutput::create(folderTarget());
        ASSERT_FALSE(staged);
        EXPECT_EQ(staged.error().code(), ErrorCode::Io);
    });
    if (answer == test::kNoFilter)
        GTEST_SKIP() << "Skipped: system calls cannot be made to fail here";
    EXPECT_EQ(answer, 0);
    EXPECT_THAT(names(), IsEmpty());
}

// NFS and FUSE, which know no flags of renameat2.
TEST_F(StagedOutputTest, PublishesWhereNamesCannotBeExchanged)
{
    fs::create_directories(m_folder.file("out/old"));
    std::ofstream(m_folder.file("out.bin")) << "old";
    const int answer = test::runWhereCallFails(SYS_renameat2, EINVAL, [&] {
        auto folder = StagedOutput::create(folderTarget());
        auto file = StagedOutput::create(fileTarget());
        ASSERT_TRUE(folder && file);
        fill(*folder, "a", "new");
        fill(*file, "out.bin", "new");
        const Status refused = file->publish(StagedOutput::Existing::Refuse);
        ASSERT_FALSE(refused);
        EXPECT_EQ(refused.error().code(), ErrorCode::Refused);
        EXPECT_EQ(content("out.bin"), "old");
        fs::create_directories(m_folder.file("out.replaced/theirs"));
        const Status inTheWay = folder->publish(StagedOutput::Existing::Replace);
        ASSERT_FALSE(inTheWay);
        EXPECT_THAT(inTheWay.error().text(), HasSubstr("out.replaced is there"));
        EXPECT_TRUE(fs::exists(m_folder.file("out/old")));
        fs::remove_all(m_folder.file("out.replaced"));
        std::ofstream(m_folder.file("out.bin.replaced")) << "theirs"; // a file takes a file's place in one step and needs no third name
        EXPECT_TRUE(folder->publish(StagedOutput::Existing::Replace));
        EXPECT_TRUE(file->publish(StagedOutput::Existing::Replace));
    });
    if (answer == test::kNoFilter)
        GTEST_SKIP() << "Skipped: system calls cannot be made to fail here";
    EXPECT_EQ(answer, 0);
    EXPECT_EQ(content("out/a"), "new");
    EXPECT_FALSE(fs::exists(m_folder.file("out/old")));
    EXPECT_EQ(content("out.bin"), "new");
    EXPECT_EQ(content("out.bin.replaced"), "theirs");
}

TEST_F(StagedOutputTest, SaysThatTheParentIsNotThere)
{
    const auto staged = StagedOutput::create({m_folder.file("nothing/out"), false, "0badcafe"});
    ASSERT_FALSE(staged);
    EXPECT_EQ(staged.error().code(), ErrorCode::NotFound);
}

TEST_F(StagedOutputTest, TakesNamesOfAnyLength)
{
    const std::string name(255, 'n');
    {
        auto staged = StagedOutput::create({m_folder.file(name), false, "0badcafe"});
        ASSERT_TRUE(staged);
        ASSERT_TRUE(staged->publish(StagedOutput::Existing::Refuse));
    }
    EXPECT_THAT(names(), ElementsAre(name));
}

TEST(TargetPath, TakesPathsApart)
{
    const auto parts = [](const char* path) {
        const TargetPath target{std::string(path)};
        return target.path + " | " + target.parent + " | " + target.name;
    };
    EXPECT_EQ(parts("a"), "a | . | a");
    EXPECT_EQ(parts("a/b//"), "a/b | a | b");
    EXPECT_EQ(parts("/a"), "/a | / | a");
    EXPECT_EQ(parts("/"), "/ | / | ");
}

} // namespace
} // namespace shardlens
