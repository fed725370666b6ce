#include "core/encoding/torch_zip_layout.h"

#include "core/base/text.h"
#include "core/encoding/zip.h"
#include "core/io/checksum.h"
#include "tests/core/encoding/encoding_fixture.h"
#include "tests/core/encoding/torch_fixture.h"

#include <fmt/format.h>
#include <gmock/gmock.h>

namespace shardlens::test {
namespace {

using namespace std::string_literals;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

constexpr std::uint64_t kMax32 = 0xFFFFFFFF;

std::vector<std::string> placeLines(const TorchZipLayout& layout)
{
    std::vector<std::string> out;
    for (const TorchRecord& record : layout.records())
        out.push_back(fmt::format("{} {} B, header {}, data {}", record.name, record.sizeBytes, record.headerOffset, record.dataOffset));
    return out;
}

std::string asString(const BytesAt& part)
{
    return {reinterpret_cast<const char*>(part.bytes.data()), part.bytes.size()};
}

std::string hex(std::string_view bytes)
{
    std::string out;
    for (const char c : bytes)
        out += fmt::format("{:02x}", static_cast<unsigned char>(c));
    return out;
}

TorchZipLayout laidOut(std::string root, std::vector<TorchRecord> records)
{
    auto layout = TorchZipLayout::layOut(std::move(root), std::move(records));
    EXPECT_TRUE(layout.ok()) << layout.error().text();
    return layout.take();
}

TEST(TorchZipLayout, WritesTheBytesThatTorchWrites)
{
    // formats/pytorch.md §12.1
    const std::string file = smallestTorchFile();
    const std::vector<std::string> contents{file.substr(64, 166), file.substr(320, 24), file.substr(448, 2)};
    const TorchZipLayout layout = laidOut("m", {{"data.pkl", 166}, {"data/0", 24}, {"version", 2}});
    EXPECT_THAT(placeLines(layout), ElementsAre("data.pkl 166 B, header 0, data 64", "data/0 24 B, header 246, data 320", "version 2 B, header 360, data 448"));
    EXPECT_EQ(layout.fileBytes(), 729u);
    EXPECT_EQ(hex(assembled(layout, contents)), hex(file));
}

TEST(TorchZipLayout, PlacesRecordsBeyondFourGigabytesAsTorchDoes)
{
    // formats/pytorch.md §12.2
    const TorchZipLayout layout = laidOut("big", {{"data.pkl", 378}, {"data/0", 3}, {"data/1", 4'294'967'305}, {"data/2", 20}, {"data/3", 0}, {"version", 2}});
    EXPECT_THAT(placeLines(layout),
                ElementsAre("data.pkl 378 B, header 0, data 64", "data/0 3 B, header 458, data 512", "data/1 4294967305 B, header 531, data 640",
                            "data/2 20 B, header 4294967969, data 4294968064", "data/3 0 B, header 4294968108, data 4294968192", "version 2 B, header 4294968192, data 4294968256"));
    const auto headers = layout.headers();
    EXPECT_EQ(hex(asString(headers[2]).substr(30 + 10)), "01001000" "0900000001000000" "0000000000000000" "46422d00" + hex(std::string(45, 'Z')));
    EXPECT_EQ(hex(asString(headers[3]).substr(30 + 10)), "01000800" "a102000001000000" "46422700" + hex(std::string(39, 'Z')));
    const std::vector<std::uint32_t> crcs{1, 2, 3, 4, 0, 6};
    const auto closing = layout.closing(crcs);
    ASSERT_EQ(closing.size(), 6u); // five descriptors: none for the empty record; and the directory
    EXPECT_EQ(closing[2].offset, 4'294'967'945u);
    EXPECT_EQ(hex(asString(closing[2])), "504b070803000000" "0900000001000000" "0900000001000000");
    EXPECT_EQ(closing[3].bytes.size(), 24u); // wide for its offset
    EXPECT_EQ(closing[1].bytes.size(), 16u);
    EXPECT_EQ(closing[5].offset + closing[5].bytes.size(), layout.fileBytes());
}

TEST(TorchZipLayout, WritesADirectoryThatIsReadBack)
{
    const TorchZipLayout layout = laidOut("big", {{"data.pkl", 378}, {"data/0", 3}, {"data/1", 4'294'967'305}, {"data/2", 20}});
    const auto closing = layout.closing(std::vector<std::uint32_t>{11, 22, 33, 44});
    // the directory alone, behind a hole as large as the data
    class Hole final : public ByteSource {
    public:
        explicit Hole(BytesAt part) : m_part(std::move(part)) {}
        [[nodiscard]] std::uint64_t size() const override { return m_part.offset + m_part.bytes.size(); }
        Status readAt(std::uint64_t offset, std::span<std::byte> out) const override
        {
            for (std::size_t i = 0; i < out.size(); ++i)
                out[i] = offset + i < m_part.offset ? std::byte{0} : m_part.bytes[offset + i - m_part.offset];
            return {};
        }

    private:
        BytesAt m_part;
    };
    const Hole file(closing.back());
    const auto archive = ZipArchive::open(file);
    ASSERT_TRUE(archive.ok()) << archive.error().text();
    EXPECT_THAT(archive->notes(), ::testing::IsEmpty());
    ASSERT_EQ(archive->members().size(), 4u);
    for (std::size_t i = 0; i < 4; ++i) {
        const ZipMember& member = archive->members()[i];
        EXPECT_EQ(member.name, "big/" + layout.records()[i].name);
        EXPECT_EQ(member.sizeBytes, layout.records()[i].sizeBytes);
        EXPECT_EQ(member.storedBytes, layout.records()[i].sizeBytes);
        EXPECT_EQ(member.headerOffset, layout.records()[i].headerOffset);
        EXPECT_EQ(member.crc32, 11 * (i + 1));
    }
}

TEST(TorchZipLayout, AlignsEveryRecordWhateverItsName)
{
    std::vector<TorchRecord> records;
    for (std::size_t i = 0; i < 200; ++i)
        records.push_back({"data/" + std::string(i, 'n'), i * 7 % 130});
    const TorchZipLayout layout = laidOut("archive", records);
    std::vector<std::string> contents;
    for (const TorchRecord& record : layout.records()) {
        EXPECT_EQ(record.dataOffset % 64, 0u) << record.name;
        contents.emplace_back(record.sizeBytes, static_cast<char>('a' + contents.size() % 26));
    }
    const std::string bytes = assembled(layout, contents);
    const auto source = memory(bytes);
    const auto archive = ZipArchive::open(*source);
    ASSERT_TRUE(archive.ok()) << archive.error().text();
    EXPECT_THAT(archive->notes(), ::testing::IsEmpty());
    ASSERT_EQ(archive->members().size(), contents.size());
    for (std::size_t i = 0; i < contents.size(); ++i) {
        const ZipMember& member = archive->members()[i];
        EXPECT_EQ(member.crc32, crc32Of(std::as_bytes(std::span(contents[i]))));
        EXPECT_EQ(*archive->dataOffset(member), layout.records()[i].dataOffset);
        EXPECT_EQ(textAt(*source, layout.records()[i].dataOffset, member.sizeBytes), contents[i]);
    }
}

TEST(TorchZipLayout, CountsMoreRecordsThanTheOldEndRecordHolds)
{
    // formats/pytorch.md §12.2: 66,002 records
    std::vector<TorchRecord> records(66'002);
    for (std::size_t i = 0; i < records.size(); ++i)
        records[i] = {std::to_string(i), 0};
    const TorchZipLayout layout = laidOut("many", records);
    const std::string tail = asString(layout.closing(std::vector<std::uint32_t>(records.size(), 0)).back());
    EXPECT_EQ(hex(tail.substr(tail.size() - 22, 12)), "504b0506" "00000000" "ffff" "ffff");
    EXPECT_EQ(hex(tail.substr(tail.size() - 98 + 24, 16)), "d201010000000000" "d201010000000000");
}

TEST(TorchZipLayout, TurnsWideAtTheFirstSizeThatDoesNotFit)
{
    const auto headerBytes = [](std::uint64_t size) { return asString(laidOut("a", {{"b", size}}).headers()[0]).substr(30 + 3); };
    EXPECT_EQ(hex(headerBytes(kMax32 - 1)).substr(0, 4), "4642");
    EXPECT_EQ(hex(headerBytes(kMax32)).substr(0, 8), "01001000");
}

TEST(TorchZipLayout, RefusesWhatNoArchiveHolds)
{
    const auto refusal = [](std::string root, std::vector<TorchRecord> records) {
        const auto layout = TorchZipLayout::layOut(std::move(root), std::move(records));
        return layout ? "fine"s : codeName(layout.error().code()) + ": " + layout.error().text();
    };
    EXPECT_EQ(refusal("", {}), "Refused: a torch archive needs a name for its root");
    EXPECT_EQ(refusal("a", {{std::string(65'533, 'n'), 1}}), "fine");
    EXPECT_EQ(refusal("a", {{std::string(65'534, 'n'), 1}}), "Refused: a record's name of 65536 B, at most 65535 fit");
    EXPECT_THAT(refusal("a", {{"b", ~std::uint64_t{0}}}), HasSubstr("Refused: a torch archive beyond 2^62 B"));
    EXPECT_THAT(refusal("a", {{"b", std::uint64_t{1} << 62}, {"c", 1}}), HasSubstr("Refused: a torch archive beyond 2^62 B"));
}

} // namespace
} // namespace shardlens::test
