#include "tests/core/convert/convert_fixture.h"

#include "core/base/endian.h"
#include "core/io/checksum.h"

#include <gmock/gmock.h>

#include <map>

namespace shardlens::test {
namespace {

using ::testing::ElementsAre;

// One member of a zip archive, as its central directory has it.
struct Member {
    std::string name;
    std::uint32_t crc;
    std::uint64_t offset; // of the data
    std::string data;
};

template <typename T>
T fieldAt(const std::string& bytes, std::size_t at)
{
    return loadLe<T>(reinterpret_cast<const std::byte*>(bytes.data()) + at);
}

// A plain reader of archives without ZIP64 sizes: the last 22 bytes say where the directory is.
std::vector<Member> membersOf(const std::string& bytes)
{
    std::vector<Member> out;
    const std::size_t end = bytes.size() - 22;
    std::size_t row = fieldAt<std::uint32_t>(bytes, end + 16);
    for (int left = fieldAt<std::uint16_t>(bytes, end + 10); left > 0; --left) {
        const std::size_t nameBytes = fieldAt<std::uint16_t>(bytes, row + 28);
        const std::size_t size = fieldAt<std::uint32_t>(bytes, row + 24);
        const std::size_t local = fieldAt<std::uint32_t>(bytes, row + 42);
        const std::size_t data = local + 30 + fieldAt<std::uint16_t>(bytes, local + 26) + fieldAt<std::uint16_t>(bytes, local + 28);
        out.push_back({bytes.substr(row + 46, nameBytes), fieldAt<std::uint32_t>(bytes, row + 16), data, bytes.substr(data, size)});
        row += 46 + nameBytes + fieldAt<std::uint16_t>(bytes, row + 30);
    }
    return out;
}

class TorchOutputTest : public ConvertTest {
protected:
    CheckpointPtr model()
    {
        return tiny({{"a", DType::F32, {300, 100}}, {"b", DType::BF16, {3}}, {"c", DType::F32, {0}}, {"d", DType::I64, {40'000}}}, {{"tied", "a"}});
    }
};

TEST_F(TorchOutputTest, HasTheRecordsThatTorchWritesInItsOrder)
{
    ASSERT_EQ(convert(model(), request("my.model.pt", "torch")), "");
    std::vector<std::string> records;
    for (const Member& member : membersOf(readText(path("my.model.pt"))))
        records.push_back(member.name);
    EXPECT_THAT(records, ElementsAre("my.model/data.pkl", "my.model/.format_version", "my.model/.storage_alignment", "my.model/byteorder", "my.model/data/0",
                                     "my.model/data/1", "my.model/data/2", "my.model/data/3", "my.model/version", "my.model/.data/serialization_id"));
}

TEST_F(TorchOutputTest, HasChecksumsOfWhatWasWrittenInManyBlocks)
{
    ConvertRequest wish = request("model.pt", "torch");
    wish.memoryLimit = kSmallMemory;
    const auto made = plan(model(), wish);
    ASSERT_TRUE(made.ok()) << made.error().text();
    wish.dtype = DType::F16; // the checksum is that of the result
    for (const ConvertRequest& each : {made->request, wish}) {
        ASSERT_EQ(convert(model(), each), "");
        const std::string bytes = readText(path("model.pt"));
        for (const Member& member : membersOf(bytes)) {
            EXPECT_EQ(member.crc, crc32Of(std::as_bytes(std::span(member.data)))) << member.name;
            if (member.data.empty())
                continue;
            EXPECT_EQ(bytes.substr(member.offset + member.data.size(), 4), "PK\x07\x08") << member.name; // the data descriptor
            EXPECT_EQ(fieldAt<std::uint32_t>(bytes, member.offset + member.data.size() + 4), member.crc) << member.name;
            EXPECT_EQ(member.offset % 64, 0u) << member.name;
        }
        std::remove(path("model.pt").c_str());
    }
}

TEST_F(TorchOutputTest, StoresTiedBytesOnce)
{
    ASSERT_EQ(convert(model(), request("model.pt", "torch")), "");
    std::size_t large = 0;
    for (const Member& member : membersOf(readText(path("model.pt"))))
        large += member.data.size() == 120'000 ? 1 : 0;
    EXPECT_EQ(large, 1u);
    EXPECT_EQ(contentsOf(path("model.pt")), contentsOf(model()));
}

// The first name of a tie may be left out: the values go with the one that stays.
TEST_F(TorchOutputTest, ATiedNameAloneHasItsValues)
{
    const auto source = tiny({{"embed.weight", DType::F32, {40, 30}}, {"norm.bias", DType::F32, {3}}}, {{"head.weight", "embed.weight"}});
    for (const char* to : {"torch", "safetensors"})
        for (const bool sharded : {false, true})
            for (const bool byInclude : {false, true}) {
                ConvertRequest wish = request(std::string("out-") + to + (sharded ? "-shards" : "-one") + (byInclude ? "-in" : "-ex"), to);
                if (byInclude)
                    wish.include = {"^head"};
                else
                    wish.exclude = {"^embed"};
                if (sharded)
                    wish.maxShardBytes = 1000;
                wish.verify = true;
                ASSERT_EQ(convert(source, wish), "") << wish.target;
                JobContext job;
                const auto opened = openCheckpoint(wish.target, {}, job);
                ASSERT_TRUE(opened.ok()) << opened.error().text();
                EXPECT_EQ((*opened)->parameters().size(), byInclude ? 1u : 2u);
                EXPECT_EQ((*opened)->parameters()[0], "head.weight");
                EXPECT_EQ((*opened)->bytesOf(idAt<TensorId>(0)), 4800u);
            }
}

} // namespace
} // namespace shardlens::test
