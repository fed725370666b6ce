#include "core/io/byte_source.h"

#include "tests/support/temporary_folder.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

namespace shardlens {
namespace {

using ::testing::HasSubstr;

class FileSourceTest : public ::testing::Test {
protected:
    std::string write(const std::string& name, const std::string& text)
    {
        std::ofstream(m_folder.file(name), std::ios::binary) << text;
        return m_folder.file(name);
    }

    test::TemporaryFolder m_folder;
};

std::string textAt(const ByteSource& source, std::uint64_t offset, std::size_t count)
{
    std::string out(count, '?');
    const Status read = source.readAt(offset, std::as_writable_bytes(std::span(out)));
    return read ? out : "error: " + read.error().text();
}

TEST_F(FileSourceTest, ReadsAnyPartAndRefusesWhatLiesOutside)
{
    const auto file = FileSource::open(write("a", "0123456789"));
    ASSERT_TRUE(file);
    EXPECT_EQ((*file)->size(), 10u);
    EXPECT_EQ(textAt(**file, 3, 4), "3456");
    EXPECT_EQ(textAt(**file, 10, 0), "");
    EXPECT_EQ(textAt(**file, 8, 3), "error: 3 B at offset 8 needed, and it ends at 10");
    EXPECT_THAT(textAt(**file, UINT64_MAX, 2), HasSubstr("error"));
}

TEST_F(FileSourceTest, SaysThatAFileBecameShorter)
{
    const std::string path = write("a", std::string(10'000, 'x'));
    const auto file = FileSource::open(path);
    ASSERT_TRUE(file);
    std::filesystem::resize_file(path, 100);
    EXPECT_THAT(textAt(**file, 50, 100), HasSubstr("became shorter while it was read: it ends at 100"));
}

TEST_F(FileSourceTest, RefusesWhatIsNoFile)
{
    const auto folder = FileSource::open(m_folder.path().string());
    ASSERT_FALSE(folder);
    EXPECT_EQ(folder.error().code(), ErrorCode::Unsupported);
    const auto nothing = FileSource::open(m_folder.file("nothing"));
    ASSERT_FALSE(nothing);
    EXPECT_EQ(nothing.error().code(), ErrorCode::NotFound);
}

TEST_F(FileSourceTest, StampsTellAWrittenFileFromTheOldOne)
{
    const std::string path = write("a", "one");
    const auto before = stampOf(path);
    std::filesystem::last_write_time(path, std::filesystem::last_write_time(path) + std::chrono::seconds(1));
    const auto after = stampOf(path);
    ASSERT_TRUE(before && after);
    EXPECT_NE(*before, *after);
}

TEST(SliceSource, CountsFromItsOwnStartAndEndsBeforeTheWhole)
{
    std::vector<std::byte> bytes;
    for (const char c : std::string("0123456789"))
        bytes.push_back(static_cast<std::byte>(c));
    const SliceSource slice(std::make_shared<MemorySource>(bytes), 2, 5);
    EXPECT_EQ(textAt(slice, 0, 5), "23456");
    EXPECT_EQ(textAt(slice, 4, 2), "error: 2 B at offset 4 needed, and it ends at 5");
}

TEST(ReadBytes, RefusesAClaimBeforeMemoryIsTaken)
{
    const MemorySource source(std::vector<std::byte>(10));
    const auto huge = readBytes(source, 0, UINT64_MAX, 1000);
    ASSERT_FALSE(huge);
    EXPECT_EQ(huge.error().code(), ErrorCode::LimitExceeded);
    const auto outside = readBytes(source, 8, 3, 1000);
    ASSERT_FALSE(outside);
    EXPECT_EQ(outside.error().code(), ErrorCode::Corrupt);
}

} // namespace
} // namespace shardlens
