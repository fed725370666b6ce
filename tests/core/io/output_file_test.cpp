#include "core/io/disk_space.h"
#include "core/io/output_file.h"
#include "core/io/page_buffer.h"

#include "tests/core/io/refused_call.h"
#include "tests/support/temporary_folder.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <thread>
#include <vector>

namespace shardlens {
namespace {

namespace fs = std::filesystem;
using ::testing::HasSubstr;

std::string contentOf(const std::string& path)
{
    std::ifstream file(path, std::ios::binary);
    return {std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
}

std::span<const std::byte> spanOf(const std::string& text)
{
    return std::as_bytes(std::span(text));
}

TEST(OutputFile, HasItsFullSizeFromTheStart)
{
    const test::TemporaryFolder folder;
    const auto file = OutputFile::create(folder.file("a"), 100'000);
    ASSERT_TRUE(file);
    EXPECT_EQ(std::filesystem::file_size(folder.file("a")), 100'000u);
}

TEST(OutputFile, IsWrittenAnywhereFromSeveralThreads)
{
    const test::TemporaryFolder folder;
    constexpr std::size_t kParts = 16;
    constexpr std::size_t kPartBytes = 70'000;
    std::string whole;
    for (std::size_t i = 0; i < kParts; ++i)
        whole += std::string(kPartBytes, static_cast<char>('a' + i));
    auto file = OutputFile::create(folder.file("a"), whole.size());
    ASSERT_TRUE(file);
    std::vector<std::thread> threads;
    for (std::size_t i = kParts; i-- > 0;)
        threads.emplace_back([&, i] { EXPECT_TRUE(file->writeAt(i * kPartBytes, spanOf(whole).subspan(i * kPartBytes, kPartBytes))); });
    for (std::thread& thread : threads)
        thread.join();
    file->startFlush(0, whole.size());
    file->waitFlush(0, whole.size());
    EXPECT_TRUE(file->flush());
    EXPECT_EQ(contentOf(folder.file("a")), whole);
}

// Whole pages from page-aligned memory may go past the page cache; what begins or ends inside a page goes through it, beside them and over them.
TEST(OutputFile, PagesAndPartsOfPagesMakeOneFile)
{
    const test::TemporaryFolder folder;
    constexpr std::size_t kBlock = 64 * kPageBytes;
    std::string whole(24 * kBlock + 1'234, ' ');
    for (std::size_t i = 0; i < whole.size(); ++i)
        whole[i] = static_cast<char>(i * 2'654'435'761u >> 13);
    auto file = OutputFile::create(folder.file("a"), whole.size());
    ASSERT_TRUE(file);
    std::vector<std::size_t> cuts{0};
    while (cuts.back() < whole.size()) // every third block begins 4 bytes before a page
        cuts.push_back(std::min(whole.size(), (cuts.back() + kPageBytes) / kPageBytes * kPageBytes + kBlock - (cuts.size() % 3 == 0 ? 4 : 0)));
    std::vector<std::thread> threads;
    for (std::size_t worker = 0; worker < 3; ++worker)
        threads.emplace_back([&, worker] {
            PageBuffer buffer;
            for (std::size_t i = worker; i + 1 < cuts.size(); i += 3) {
                const std::span<std::byte> bytes = buffer.take(cuts[i + 1] - cuts[i]);
                std::memcpy(bytes.data(), whole.data() + cuts[i], bytes.size());
                EXPECT_TRUE(file->writeAt(cuts[i], bytes));
            }
        });
    for (std::thread& thread : threads)
        thread.join();
    whole.replace(3 * kPageBytes - 2, 4, "over");
    EXPECT_TRUE(file->writeAt(3 * kPageBytes - 2, spanOf(whole).subspan(3 * kPageBytes - 2, 4)));
    EXPECT_TRUE(file->flush());
    EXPECT_EQ(contentOf(folder.file("a")), whole);
}

TEST(PageBuffer, BeginsAtAPageAndKeepsItsRoom)
{
    PageBuffer buffer;
    const std::span<std::byte> large = buffer.take(3 * kPageBytes + 1);
    EXPECT_EQ(large.size(), 3 * kPageBytes + 1);
    EXPECT_EQ(reinterpret_cast<std::uintptr_t>(large.data()) % kPageBytes, 0u);
    const std::span<std::byte> small = buffer.take(5);
    EXPECT_EQ(small.data(), large.data());
    EXPECT_EQ(small.size(), 5u);
    EXPECT_EQ(reinterpret_cast<std::uintptr_t>(buffer.take(9 * kPageBytes).data()) % kPageBytes, 0u);
}

TEST(OutputFile, NeverTouchesAFileThatIsThere)
{
    const test::TemporaryFolder folder;
    std::ofstream(folder.file("a")) << "mine";
    const auto file = OutputFile::create(folder.file("a"), 10);
    ASSERT_FALSE(file);
    EXPECT_EQ(file.error().code(), ErrorCode::Refused);
    EXPECT_EQ(contentOf(folder.file("a")), "mine");
}

TEST(OutputFile, RefusesBytesBeyondItsEnd)
{
    const test::TemporaryFolder folder;
    const auto file = OutputFile::create(folder.file("a"), 10);
    ASSERT_TRUE(file);
    EXPECT_TRUE(file->writeAt(7, spanOf("abc")));
    EXPECT_FALSE(file->writeAt(8, spanOf("abc")));
    EXPECT_FALSE(file->writeAt(UINT64_MAX, spanOf("abc")));
    EXPECT_EQ(std::filesystem::file_size(folder.file("a")), 10u);
}

// Without asking for the room: on ext4 that would take the whole disk for a moment, and other programs' writes would fail.
TEST(OutputFile, SaysThatADiskIsTooFullBeforeAnythingIsTaken)
{
    const test::TemporaryFolder folder;
    const int answer = test::runWhereCallFails(SYS_fallocate, EIO, [&] {
        const auto freeBytes = freeBytesAt(folder.path().string());
        ASSERT_TRUE(freeBytes);
        const auto file = OutputFile::create(folder.file("a"), *freeBytes + (1ull << 40)); // a sparse file of that size would be possible
        ASSERT_FALSE(file);
        EXPECT_EQ(file.error().code(), ErrorCode::Io);
        EXPECT_THAT(file.error().text(), HasSubstr("the disk is too full"));
        EXPECT_THAT(file.error().text(), HasSubstr("free"));
    });
    if (answer == test::kNoFilter)
        GTEST_SKIP() << "Skipped: system calls cannot be made to fail here";
    EXPECT_EQ(answer, 0);
    EXPECT_EQ(fs::file_size(folder.file("a")), 0u);
}

// A quota, or another program that was faster.
TEST(OutputFile, SaysThatADiskBecameFullWhileRoomWasTaken)
{
    const test::TemporaryFolder folder;
    const int answer = test::runWhereCallFails(SYS_fallocate, EDQUOT, [&] {
        const auto file = OutputFile::create(folder.file("a"), 1 << 20);
        ASSERT_FALSE(file);
        EXPECT_EQ(file.error().code(), ErrorCode::Io);
        EXPECT_THAT(file.error().text(), HasSubstr("the disk is too full: 1.00 MiB (1,048,576 B) needed"));
    });
    if (answer == test::kNoFilter)
        GTEST_SKIP() << "Skipped: system calls cannot be made to fail here";
    EXPECT_EQ(answer, 0);
    EXPECT_EQ(fs::file_size(folder.file("a")), 0u);
}

// Runs in a process of its own: a limit cannot be taken back.
[[noreturn]] void createBeyondTheLimit(const std::string& path)
{
    std::signal(SIGXFSZ, SIG_IGN);
    const rlimit limit{4096, 4096};
    setrlimit(RLIMIT_FSIZE, &limit);
    const auto file = OutputFile::create(path, 100'000);
    std::fputs(file ? "made" : file.error().text().c_str(), stderr);
    std::_Exit(0);
}

TEST(OutputFile, SaysThatTheUsersLimitIsReached)
{
    const test::TemporaryFolder folder;
    EXPECT_EXIT(createBeyondTheLimit(folder.file("a")), ::testing::ExitedWithCode(0), "larger than this disk or this user's limit allows");
}

TEST(DiskSpace, NamesBothNumbers)
{
    const test::TemporaryFolder folder;
    EXPECT_TRUE(checkDiskSpace(folder.path().string(), 1));
    const Status full = checkDiskSpace(folder.path().string(), std::uint64_t{1} << 62);
    ASSERT_FALSE(full);
    EXPECT_EQ(full.error().code(), ErrorCode::Refused);
    EXPECT_THAT(full.error().text(), HasSubstr("4.00 EiB (4,611,686,018,427,387,904 B) needed"));
    EXPECT_EQ(checkDiskSpace(folder.file("nothing"), 1).error().code(), ErrorCode::NotFound);
}

} // namespace
} // namespace shardlens
