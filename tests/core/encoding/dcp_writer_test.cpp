// What is written into DCP directories (formats/pytorch.md §9.10), beside torch's loader which tests/interop asks.
#include "core/encoding/dcp_writer.h"

#include "core/base/text.h"
#include "core/encoding/dcp_metadata.h"
#include "core/encoding/torch_writer.h"
#include "tests/core/encoding/encoding_fixture.h"

#include <fmt/format.h>
#include <gmock/gmock.h>

#include <random>

namespace shardlens::test {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

std::string pickleText(const std::vector<std::byte>& bytes)
{
    return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

std::vector<std::byte> smallMetadata(std::uint64_t firstOffset = 0)
{
    DcpMetadataWriter writer({"__0_0.distcp", "__1_0.distcp"});
    writer.addTensor({{"model", {}}, {"a.b", {}}}, DType::BF16, {3, 2});
    writer.addChunk(Shape{0, 0}, Shape{2, 2}, {0, 0, firstOffset, 100});
    writer.addChunk(Shape{2, 0}, Shape{1, 2}, {1, 0, 0, 90});
    writer.addObject({{"groups", {}}, {"0", 0}, {"lr", {}}}, {1, 0, 90, 40});
    writer.addTensor({{"s", {}}}, DType::I64, {});
    writer.addChunk(Shape{}, Shape{}, {0, 0, 100, 80});
    auto bytes = std::move(writer).finish();
    EXPECT_TRUE(bytes.ok());
    return bytes.take();
}

TEST(DcpWriter, WritesTheClassesOfTheCurrentRelease)
{
    const std::string shown = shownPickle(pickleText(smallMetadata()));
    const std::string classes = "new torch.distributed.checkpoint.metadata.";
    EXPECT_THAT(shown, ::testing::StartsWith(classes + "Metadata()"));
    EXPECT_EQ(pickleText(smallMetadata()).substr(0, 2), "\x80\x02"); // any reader knows protocol 2
}

TEST(DcpWriter, WhatItWritesIsReadBack)
{
    JobContext job;
    const auto metadata = DcpMetadata::parse(std::make_shared<const std::vector<std::byte>>(smallMetadata()), job);
    ASSERT_TRUE(metadata.ok()) << metadata.error().text();
    EXPECT_THAT(metadata->remarks, IsEmpty());
    EXPECT_EQ(metadata->version, "1.0.0");
    ASSERT_EQ(metadata->entries.size(), 3u);
    const DcpEntry& tensor = metadata->entries[0];
    EXPECT_EQ(tensor.key, "model.a.b");
    ASSERT_EQ(tensor.path.size(), 2u);
    EXPECT_EQ(tensor.path[1].key, "a.b");
    EXPECT_EQ(tensor.dtype, DType::BF16);
    EXPECT_EQ(tensor.shape, (Shape{3, 2}));
    ASSERT_EQ(tensor.chunkCount, 2u);
    EXPECT_THAT(metadata->chunks.offset(1), ElementsAre(2, 0));
    EXPECT_THAT(metadata->chunks.extent(1), ElementsAre(1, 2));
    EXPECT_EQ(metadata->files.at(metadata->chunks.item(1).file), "__1_0.distcp");
    EXPECT_EQ(metadata->chunks.item(1).length, 90u);
    const DcpEntry& object = metadata->entries[1];
    EXPECT_EQ(object.key, "groups.0.lr");
    EXPECT_EQ(object.kind, DcpEntry::Kind::Bytes);
    EXPECT_EQ(object.path.at(1).index, 0u);
    EXPECT_EQ(object.item.offset, 90u);
    EXPECT_EQ(metadata->entries[2].shape, Shape{});
    EXPECT_EQ(metadata->chunks.item(2).offset, 100u);
}

TEST(DcpWriter, TheSavesIdDependsOnTheContentAlone)
{
    EXPECT_EQ(smallMetadata(), smallMetadata());
    const std::string one = pickleText(smallMetadata());
    const std::string other = pickleText(smallMetadata(1));
    const auto idOf = [](const std::string& bytes) { return bytes.substr(bytes.find("-4") - 13, 36); };
    EXPECT_NE(idOf(one), idOf(other));
    EXPECT_THAT(idOf(one), ::testing::MatchesRegex("[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-a[0-9a-f]{3}-[0-9a-f]{12}"));
}

TEST(DcpWriter, ThePickleOfATensorIsTorchs)
{
    const auto shownTensor = [](DType dtype, const Shape& shape) {
        const auto pickle = tensorPickle(dtype, shape);
        return pickle ? shownPickle(pickleText(*pickle)) : codeName(pickle.error().code()) + ": " + pickle.error().text();
    };
    EXPECT_EQ(shownTensor(DType::F32, {2, 3}), "torch._utils._rebuild_tensor_v2(pid(('storage', torch.FloatStorage, '0', 'cpu', 6)), 0, (2, 3), (3, 1), False, collections.OrderedDict(){})");
    EXPECT_THAT(shownTensor(DType::I64, {}), HasSubstr("torch.LongStorage, '0', 'cpu', 1)), 0, (), ()"));
    EXPECT_THAT(shownTensor(DType::F32, {0, 3}), HasSubstr("'cpu', 0)), 0, (0, 3), (3, 1)"));
    EXPECT_THAT(shownTensor(DType::F8E4M3, {4}), HasSubstr("_rebuild_tensor_v3(pid(('storage', torch.storage.UntypedStorage, '0', 'cpu', 4))"));
    EXPECT_THAT(shownTensor(DType::F6E2M3, {4}), ::testing::StartsWith("Refused: "));
}

TEST(DcpWriter, AViewThatIsNotDenseKeepsItsStrides)
{
    const std::vector<std::int64_t> strides{4, 8};
    const auto pickle = tensorPickle(DType::F32, {2, 3}, strides, 24);
    ASSERT_TRUE(pickle.ok());
    EXPECT_THAT(shownPickle(pickleText(*pickle)), HasSubstr("'0', 'cpu', 6)), 0, (2, 3), (1, 2), False"));
}

// ---- dealing rows to writers ----

std::vector<std::string> dealt(const std::vector<DcpRowCount>& tensors, std::uint32_t writers)
{
    std::vector<std::string> out;
    for (const DcpRows& one : dealRows(tensors, writers))
        out.push_back(fmt::format("{}: {}-{} by {}", one.tensor, one.begin, one.end, one.writer));
    return out;
}

TEST(DcpWriter, RowsAreDealtAsFsdpCutsThem)
{
    EXPECT_THAT(dealt({{5, 4, true}}, 4), ElementsAre("0: 0-2 by 0", "0: 2-4 by 1", "0: 4-5 by 2")); // §12.8: sizes 2, 2, 1, 0
    EXPECT_THAT(dealt({{3, 4, true}}, 8), ElementsAre("0: 0-1 by 0", "0: 1-2 by 1", "0: 2-3 by 2"));
    EXPECT_THAT(dealt({{16, 4, true}}, 3), ElementsAre("0: 0-6 by 0", "0: 6-12 by 1", "0: 12-16 by 2"));
    EXPECT_THAT(dealt({{7, 4, true}}, 1), ElementsAre("0: 0-7 by 0"));
}

TEST(DcpWriter, WhatIsNotCutGoesToWhoHasLeast)
{
    EXPECT_THAT(dealt({{1, 100, false}, {4, 10, true}, {1, 5, false}, {0, 8, true}, {1, 7, false}}, 2),
                ElementsAre("0: 0-1 by 0", "1: 0-2 by 0", "1: 2-4 by 1", "2: 0-1 by 1", "3: 0-0 by 1", "4: 0-1 by 1"));
    EXPECT_THAT(dealt({}, 3), IsEmpty());
}

TEST(DcpWriter, EveryRowIsDealtOnce)
{
    std::mt19937 random(20261126);
    for (int round = 0; round < 300; ++round) {
        std::vector<DcpRowCount> tensors(random() % 6);
        for (DcpRowCount& one : tensors)
            one = {random() % 20, random() % 9, random() % 3 != 0};
        const auto writers = static_cast<std::uint32_t>(1 + random() % 9);
        std::vector<std::uint64_t> next(tensors.size(), 0);
        std::vector<std::size_t> parts(tensors.size(), 0);
        std::size_t last = 0;
        for (const DcpRows& one : dealRows(tensors, writers)) {
            ASSERT_LT(one.writer, writers);
            ASSERT_GE(one.tensor, last); // in the order of the tensors
            last = one.tensor;
            EXPECT_EQ(one.begin, next[one.tensor]);
            next[one.tensor] = one.end;
            ++parts[one.tensor];
        }
        for (std::size_t i = 0; i < tensors.size(); ++i) {
            EXPECT_EQ(next[i], tensors[i].rows);
            EXPECT_GE(parts[i], 1u); // an empty tensor has a chunk too
            EXPECT_LE(parts[i], tensors[i].isCut ? writers : 1u);
        }
    }
}

TEST(DcpWriter, TheLengthOfAnItemIsThatOfTorchs)
{
    EXPECT_EQ(*dcpItemBytes(142, std::vector<std::uint64_t>{16}), 1577u); // formats/pytorch.md §12.4: float32 [2, 2]
}

} // namespace
} // namespace shardlens::test
