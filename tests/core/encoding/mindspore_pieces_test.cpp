#include "core/encoding/mindspore_pieces.h"

#include "core/encoding/tensor_reader.h"
#include "core/model/coverage.h"
#include "tests/core/encoding/encoding_fixture.h"
#include "tests/core/encoding/mindspore_fixture.h"
#include "tests/support/temporary_folder.h"

#include <fmt/format.h>
#include <gmock/gmock.h>

#include <fstream>

namespace shardlens::test {
namespace {

using namespace std::string_literals;
using ::testing::HasSubstr;

// One logical tensor over files, each of which holds one slice of it.
class CkptModel {
public:
    CkptModel(DType dtype, Shape shape) : m_builder(m_folder.path().string(), m_folder.path().string())
    {
        m_tensor = m_builder.addTensor({m_builder.parameter("w"), m_builder.role(RoleKind::Weight, "weight"), dtype, Combine::Exclusive, true, std::move(shape)});
    }

    // No box: the whole tensor.
    Status add(const std::string& bytes, const std::optional<Box>& box = std::nullopt)
    {
        const std::string path = m_folder.file(fmt::format("{}.ckpt", m_builder.fileCount()));
        std::ofstream(path, std::ios::binary) << bytes;
        const auto source = FileSource::open(path);
        const auto file = mindspore::readCkpt(**source);
        if (!file)
            return file.error();
        File row;
        row.path = path;
        row.name = path;
        row.size = (*source)->size();
        row.modifiedNs = (*source)->stamp().modifiedNs;
        row.inode = (*source)->stamp().inode;
        const FileId id = m_builder.addFile(row);
        mindspore::addCkptSpans(m_builder, id, file->entries);
        const mindspore::CkptPlace place{id, m_builder.holder({})};
        return box ? mindspore::addEntryBox(m_builder, m_tensor, file->entries.at(0), *box, place) : mindspore::addWholeEntry(m_builder, m_tensor, file->entries.at(0), place);
    }

    // The values in row-major order; "error: …" where there is a hole.
    std::string values()
    {
        m_checkpoint = std::move(m_builder).finish();
        const StreamSet streams(m_checkpoint);
        const auto reader = TensorReader::open(streams, m_tensor);
        if (!reader)
            return "error: " + reader.error().text();
        std::string out(reader->sizeBytes(), '\0');
        const Status read = reader->readAt(0, std::as_writable_bytes(std::span(out)));
        return read ? out : "error: " + read.error().text();
    }

    [[nodiscard]] const Checkpoint& checkpoint() const { return *m_checkpoint; }

private:
    TemporaryFolder m_folder;
    CheckpointBuilder m_builder;
    TensorId m_tensor{};
    CheckpointPtr m_checkpoint;
};

std::string chunked(const std::vector<std::int64_t>& dims, std::string_view type, std::string_view values, std::size_t pieceBytes)
{
    std::string out;
    for (std::size_t at = 0; at < values.size(); at += pieceBytes)
        out += ckptRecord("w", ckptTensor(dims, type, values.substr(at, pieceBytes)));
    return out;
}

// Each byte is pair of two: 0 0, 1 1 … as 16-bit values; wide: the same between two bytes that do not count.
std::string pairs(const std::vector<int>& numbers, bool isWide = false)
{
    std::string out;
    for (const int number : numbers)
        out += (isWide ? "??" : "") + std::string(2, static_cast<char>('a' + number));
    return out;
}

TEST(MindSporePieces, CoversAWholeTensor)
{
    for (const std::size_t pieceBytes : {2u, 4u, 6u, 100u}) {
        CkptModel model(DType::I16, {2, 3});
        ASSERT_TRUE(model.add(chunked({2, 3}, "Int16", "aabbccddeeff", pieceBytes)));
        EXPECT_EQ(model.values(), "aabbccddeeff");
    }
}

TEST(MindSporePieces, ReadsTheUpperHalfOfWideBfloat16)
{
    const std::string wide = pairs({0, 1, 2, 3, 4, 5}, true);
    for (const std::size_t pieceBytes : {4u, 8u, 20u, 100u}) {
        CkptModel model(DType::BF16, {2, 3});
        ASSERT_TRUE(model.add(chunked({2, 3}, "BFloat16", wide, pieceBytes)));
        EXPECT_EQ(model.values(), "aabbccddeeff") << pieceBytes;
    }
    CkptModel scalar(DType::BF16, {});
    ASSERT_TRUE(scalar.add(ckptRecord("w", ckptTensor({}, "BFloat16", "??ab"))));
    EXPECT_EQ(scalar.values(), "ab");
}

TEST(MindSporePieces, PlacesSlicesWhereverTheirRecordsEnd)
{
    // [4, 3] as columns 0 and 1, and column 2
    for (const bool isWide : {false, true})
        for (const std::size_t pieceValues : {1u, 2u, 3u, 5u, 7u, 100u}) {
            CkptModel model(isWide ? DType::BF16 : DType::U16, {4, 3});
            const char* const type = isWide ? "BFloat16" : "UInt16";
            const std::size_t pieceBytes = pieceValues * (isWide ? 4 : 2);
            ASSERT_TRUE(model.add(chunked({4, 2}, type, pairs({0, 1, 3, 4, 6, 7, 9, 10}, isWide), pieceBytes), Box{{0, 0}, {4, 2}}));
            ASSERT_TRUE(model.add(chunked({4, 1}, type, pairs({2, 5, 8, 11}, isWide), pieceBytes), Box{{0, 2}, {4, 1}}));
            EXPECT_EQ(model.values(), "aabbccddeeffgghhiijjkkll") << isWide << pieceValues;
        }
}

TEST(MindSporePieces, PlacesSlicesOfThreeAxes)
{
    // [2, 4, 2], rows 1 to 3 of the middle axis and the rest
    for (const std::size_t pieceBytes : {2u, 6u, 10u, 100u}) {
        CkptModel model(DType::I16, {2, 4, 2});
        ASSERT_TRUE(model.add(chunked({2, 2, 2}, "Int16", pairs({2, 3, 4, 5, 10, 11, 12, 13}), pieceBytes), Box{{0, 1, 0}, {2, 2, 2}}));
        ASSERT_TRUE(model.add(chunked({2, 1, 2}, "Int16", pairs({0, 1, 8, 9}), pieceBytes), Box{{0, 0, 0}, {2, 1, 2}}));
        ASSERT_TRUE(model.add(chunked({2, 1, 2}, "Int16", pairs({6, 7, 14, 15}), pieceBytes), Box{{0, 3, 0}, {2, 1, 2}}));
        EXPECT_EQ(model.values(), pairs({0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15}));
    }
}

TEST(MindSporePieces, KeepsThePlaceOfATensorWithoutValues)
{
    CkptModel model(DType::F32, {0, 4});
    ASSERT_TRUE(model.add(ckptRecord("w", ckptTensor({0, 4}, "Float32", ""))));
    EXPECT_EQ(model.values(), "");
    EXPECT_EQ(model.checkpoint().pieces().size(), 1u);
}

TEST(MindSporePieces, MarksWhatIsNoValue)
{
    CkptModel model(DType::I16, {2});
    const std::string file = chunked({2}, "Int16", "aabb", 2);
    ASSERT_TRUE(model.add(file + "crc_num" + std::string(10, '\0')));
    EXPECT_EQ(model.values(), "aabb");
    std::uint64_t header = 0;
    for (const FileSpan& span : model.checkpoint().fileSpans())
        header += span.length;
    EXPECT_EQ(header, file.size() + 17 - 4);
}

TEST(MindSporePieces, RefusesASliceThatDoesNotFit)
{
    CkptModel model(DType::I16, {4, 3});
    const std::string four = chunked({4}, "Int16", "aabbccdd", 100);
    EXPECT_THAT(model.add(four, Box{{0, 0}, {4, 2}}).error().text(), HasSubstr("'w': [4, 2] does not hold its 8 B of Int16"));
    EXPECT_THAT(model.add(four, Box{{1, 0}, {4, 1}}).error().text(), HasSubstr("lies outside [4, 3]"));
    EXPECT_THAT(model.add(four).error().text(), HasSubstr("'w': [4, 3] does not hold its 8 B of Int16"));
}

TEST(MindSporePieces, RefusesARecordThatEndsInsideAValue)
{
    CheckpointBuilder builder(".", ".");
    File row;
    row.size = 100;
    const FileId file = builder.addFile(row);
    const TensorId tensor = builder.addTensor({builder.parameter("w"), builder.role(RoleKind::Weight, "weight"), DType::I16, Combine::Exclusive, true, {2}});
    mindspore::CkptEntry entry;
    entry.name = "w";
    entry.dtype = DType::I16;
    entry.shape = {2};
    entry.sizeBytes = 4;
    entry.pieces = {{10, 1}, {20, 3}};
    EXPECT_THAT(mindspore::addWholeEntry(builder, tensor, entry, {file, builder.holder({})}).error().text(), HasSubstr("a record of 1 B ends inside a value of 2 B"));
}

} // namespace
} // namespace shardlens::test
