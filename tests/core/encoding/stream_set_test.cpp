#include "core/encoding/tensor_reader.h"
#include "core/model/checkpoint_builder.h"
#include "tests/core/encoding/encoding_fixture.h"
#include "tests/core/encoding/zip_maker.h"
#include "tests/support/temporary_folder.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <barrier>
#include <fstream>
#include <sys/resource.h>
#include <thread>

namespace shardlens::test {
namespace {

class StreamSetTest : public testing::Test {
protected:
    FileId write(const std::string& name, const std::string& bytes)
    {
        File file;
        file.path = m_folder.file(name);
        file.name = name;
        std::ofstream(file.path, std::ios::binary) << bytes;
        const auto stamp = stampOf(file.path);
        EXPECT_TRUE(stamp.ok());
        file.size = stamp->sizeBytes;
        file.modifiedNs = stamp->modifiedNs;
        return m_builder.addFile(file);
    }

    TemporaryFolder m_folder;
    CheckpointBuilder m_builder{"run", "run"};
};

// Many blocks that are stored as they are (RFC 1951 §3.2.4), the last one empty.
std::string deflatedInBlocks(const std::string& text)
{
    std::string out;
    for (std::size_t at = 0; at < text.size(); at += 65'535) {
        std::string block = deflatedAsIs(std::string_view(text).substr(at, 65'535));
        block[0] = '\0'; // not the last
        out += block;
    }
    return out + deflatedAsIs("");
}

TEST_F(StreamSetTest, ThreadsThatWantOneMemberShareOneDecoding)
{
    std::string text(16u << 20, '\0');
    for (std::size_t i = 0; i < text.size(); ++i)
        text[i] = static_cast<char>(i * 2654435761u >> 24);
    const std::string packed = deflatedInBlocks(text);
    const StreamId id = m_builder.addStream({Stream::Kind::Deflated, write("a.pt", packed), 0, packed.size(), text.size()});
    const StreamSet streams(std::move(m_builder).finish());
    constexpr std::size_t kThreads = 8;
    std::barrier together(kThreads);
    std::vector<std::shared_ptr<const ByteSource>> got(kThreads);
    std::vector<std::thread> threads;
    for (std::size_t i = 0; i < kThreads; ++i)
        threads.emplace_back([&, i] {
            together.arrive_and_wait();
            if (auto source = streams.source(id))
                got[i] = source.take();
        });
    for (std::thread& thread : threads)
        thread.join();
    ASSERT_NE(got[0], nullptr);
    EXPECT_THAT(got, testing::Each(got[0]));
    EXPECT_EQ(textAt(*got[0], 0, text.size()) == text, true);
    EXPECT_EQ(got[0], *streams.source(id));
}

TEST_F(StreamSetTest, MoreFilesThanAFewHundredStayOpen)
{
    constexpr std::size_t kFiles = 600;
    rlimit limit{};
    ASSERT_EQ(::getrlimit(RLIMIT_NOFILE, &limit), 0);
    if (limit.rlim_cur < kFiles + 256)
        GTEST_SKIP() << "Skipped: only " << limit.rlim_cur << " files may be open here";
    std::vector<StreamId> ids;
    for (std::size_t i = 0; i < kFiles; ++i)
        ids.push_back(m_builder.streamOf(write(std::to_string(i), "rank " + std::to_string(i))));
    const StreamSet streams(std::move(m_builder).finish());
    std::vector<std::weak_ptr<const ByteSource>> first;
    for (const StreamId id : ids)
        first.push_back(*streams.source(id));
    for (std::size_t i = 0; i < kFiles; ++i) {
        EXPECT_FALSE(first[i].expired()) << i; // nobody but the set holds it
        EXPECT_EQ(textAt(**streams.source(ids[i]), 0, (*streams.source(ids[i]))->size()), "rank " + std::to_string(i));
    }
}

TEST_F(StreamSetTest, ValuesInTheCheckpointCloseNoFile)
{
    const StreamId file = m_builder.streamOf(write("a", "abcd"));
    std::vector<StreamId> values;
    for (std::size_t i = 0; i < 2000; ++i)
        values.push_back(m_builder.addInline(kNoFile, toBytes(std::to_string(i))));
    rlimit limit{};
    ASSERT_EQ(::getrlimit(RLIMIT_NOFILE, &limit), 0);
    rlimit few = limit;
    few.rlim_cur = std::min<rlim_t>(limit.rlim_cur, 256); // so that only the least number is kept
    ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &few), 0);
    const StreamSet streams(std::move(m_builder).finish());
    ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &limit), 0);
    const std::weak_ptr<const ByteSource> opened = *streams.source(file);
    for (std::size_t i = 0; i < values.size(); ++i)
        ASSERT_EQ(textAt(**streams.source(values[i]), 0, std::to_string(i).size()), std::to_string(i));
    EXPECT_FALSE(opened.expired());
}

TEST_F(StreamSetTest, RefusesAFileThatChanged)
{
    const FileId file = write("a.pt", "0123");
    const StreamId id = m_builder.streamOf(file);
    std::ofstream(m_folder.file("a.pt"), std::ios::app) << "4";
    const StreamSet streams(std::move(m_builder).finish());
    const auto source = streams.source(id);
    ASSERT_FALSE(source.ok());
    EXPECT_EQ(source.error().code(), ErrorCode::Io);
    EXPECT_THAT(source.error().text(), testing::HasSubstr("a.pt: changed since it was opened: 4 B then, 5 B now"));
}

} // namespace
} // namespace shardlens::test
