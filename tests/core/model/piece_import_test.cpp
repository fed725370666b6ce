#include "core/model/piece_import.h"

#include "core/model/coverage.h"
#include "tests/core/model/random_regions.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>
#include <optional>

namespace shardlens {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing_support::cellsOf;
using testing_support::coordinatesOf;
using testing_support::RandomRegions;

constexpr std::uint64_t kCell = 4; // bytes of an F32

File importedFile(const std::string& name, File::State state = File::State::Read)
{
    File file;
    file.path = file.name = name;
    file.size = 1 << 20;
    file.state = state;
    return file;
}

TensorId addFloats(CheckpointBuilder& builder, const std::string& name, const Shape& shape)
{
    return builder.addTensor({builder.parameter(name), builder.role(RoleKind::Weight, "weight"), DType::F32, Combine::Exclusive, true, shape});
}

// Where the bytes of every cell of a tensor lie, cell by cell: the file's name and the offset; the pieces that hold it in their order.
std::vector<std::vector<std::pair<std::string, std::int64_t>>> placesOf(const Checkpoint& checkpoint, TensorId tensor)
{
    const Shape& shape = checkpoint.tensor(tensor).shape;
    std::vector<std::vector<std::pair<std::string, std::int64_t>>> out(cellsOf(shape));
    const PieceStore& pieces = checkpoint.pieces();
    for (std::size_t row = pieces.firstOf(tensor); row < pieces.lastOf(tensor); ++row) {
        const Piece piece = pieces.at(idAt<PieceId>(row));
        const AddressMap addresses = piece.addresses(shape, kCell);
        const auto held = testing_support::bitmapOf(piece.region, shape);
        std::int64_t dense = static_cast<std::int64_t>(piece.source.offset);
        for (std::uint64_t cell = 0; cell < held.size(); ++cell) {
            if (!held[cell])
                continue;
            std::int64_t at = addresses.base;
            const Shape index = coordinatesOf(cell, shape);
            for (std::size_t axis = 0; axis < index.size(); ++axis)
                at += static_cast<std::int64_t>(index[axis]) * addresses.strides[axis];
            if (std::holds_alternative<FlatRange>(piece.region)) { // flat pieces lie densely
                at = dense;
                dense += kCell;
            }
            out[cell].emplace_back(checkpoint.file(checkpoint.stream(piece.source.stream).file).name, at);
        }
    }
    return out;
}

// A slab of random boxes of equal extents in two shapes, which differ along one dimension.
struct RandomSlab {
    Shape target;
    Slab slab;
};

RandomSlab slabInto(RandomRegions& random, const Shape& source)
{
    RandomSlab out{source, {}};
    const Box from = random.box(source);
    Box to = from;
    for (std::size_t axis = 0; axis < source.size(); ++axis) {
        const std::uint64_t before = random.below(3);
        out.target[axis] = before + from.extent[axis] + random.below(3);
        to.offset[axis] = before;
    }
    out.slab = {from, to};
    return out;
}

std::uint64_t cellAt(const Shape& index, const Shape& shape)
{
    std::uint64_t out = 0;
    for (std::size_t axis = 0; axis < shape.size(); ++axis)
        out = out * shape[axis] + index[axis];
    return out;
}

// Pieces of every kind over a tensor: flat, boxes, and boxes with strides of their own.
void addRandomPieces(RandomRegions& random, CheckpointBuilder& builder, TensorId tensor, const Shape& shape)
{
    for (std::size_t i = 0; i < 1 + random.below(4); ++i) {
        const FileId file = builder.addFile(importedFile("f" + std::to_string(i)));
        const CheckpointBuilder::Placement placement{builder.streamOf(file), 8 * random.below(100), builder.holder({}), {}};
        const Region region = random.region(shape);
        std::vector<std::int64_t> strides;
        if (std::holds_alternative<Box>(region) && random.below(2) == 0)
            for (std::size_t axis = 0; axis < shape.size(); ++axis)
                strides.push_back(static_cast<std::int64_t>(kCell * (1 + random.below(20))));
        ASSERT_TRUE(builder.addPiece(tensor, viewOf(region), placement, strides).ok());
    }
}

TEST(PieceImport, EveryCellOfASlabLiesWhereItLayBefore)
{
    for (std::uint32_t seed = 0; seed < 600; ++seed) {
        RandomRegions random(seed);
        const Shape shape = random.shape();
        CheckpointBuilder source("a", "a");
        const TensorId from = addFloats(source, "w", shape);
        addRandomPieces(random, source, from, shape);
        const CheckpointPtr read = std::move(source).finish();
        const RandomSlab made = slabInto(random, shape);
        CheckpointBuilder builder("b", "b");
        PieceImport import(builder, *read);
        const TensorId to = addFloats(builder, "part", made.target);
        const Status added = import.addThrough(to, from, made.slab);
        ASSERT_TRUE(added.ok()) << "seed " << seed << ": " << added.error().text();
        const CheckpointPtr out = std::move(builder).finish();
        const auto before = placesOf(*read, from);
        std::vector<std::vector<std::pair<std::string, std::int64_t>>> expected(cellsOf(made.target));
        for (std::uint64_t cell = 0; cell < made.slab.from.volume(); ++cell) {
            Shape source = coordinatesOf(cell, made.slab.from.extent);
            Shape target = source;
            for (std::size_t axis = 0; axis < source.size(); ++axis) {
                source[axis] += made.slab.from.offset[axis];
                target[axis] += made.slab.to.offset[axis];
            }
            expected[cellAt(target, made.target)] = before[cellAt(source, shape)];
        }
        ASSERT_EQ(placesOf(*out, to), expected) << "seed " << seed;
    }
}

TEST(PieceImport, TakesFilesMetadataInlineValuesAndHolders)
{
    CheckpointBuilder source("a", "a");
    const FileId file = source.addFile(importedFile("x.pt"));
    const std::array<std::byte, 8> values{std::byte{1}, std::byte{2}};
    const StreamId kept = source.addInline(file, values);
    MetaNode root;
    root.value = "said";
    source.addMetadata({file, root});
    const TensorId step = addFloats(source, "step", {2});
    ASSERT_TRUE(source.addWhole(step, {kept, 0, source.holder({{{Axis::Dp, 3}}}), {}}).ok());
    const CheckpointPtr read = std::move(source).finish();

    CheckpointBuilder builder("b", "b");
    builder.addFile(importedFile("other.pt"));
    PieceImport import(builder, *read, {{Axis::Tp, 1}});
    const TensorId to = addFloats(builder, "step", {2});
    ASSERT_TRUE(import.addWhole(to, step).ok());
    const CheckpointPtr out = std::move(builder).finish();
    const Piece piece = out->pieces().at(PieceId{0});
    const Stream& stream = out->stream(piece.source.stream);
    EXPECT_EQ(stream.kind, Stream::Kind::Inline);
    EXPECT_EQ(out->file(stream.file).name, "x.pt");
    EXPECT_EQ(out->inlineBytes()[stream.offset + 1], std::byte{2});
    std::vector<std::pair<Axis, std::uint32_t>> coordinates;
    for (const Holder::Coordinate& one : out->holder(piece.holder).coordinates)
        coordinates.emplace_back(one.axis, one.index);
    EXPECT_THAT(coordinates, testing::UnorderedElementsAre(std::pair(Axis::Dp, 3u), std::pair(Axis::Tp, 1u)));
    ASSERT_EQ(out->metadata().size(), 1u);
    EXPECT_EQ(out->file(out->metadata()[0].file).name, "x.pt");
    EXPECT_EQ(out->metadata()[0].root.value, "said");
}

TEST(PieceImport, PiecesOfMissingFilesStayHoles)
{
    CheckpointBuilder source("a", "a");
    const FileId gone = source.addFile(importedFile("gone.pt", File::State::Missing));
    const TensorId from = addFloats(source, "w", {4, 2});
    ASSERT_TRUE(source.addWhole(from, {source.streamOf(gone), 0, source.holder({}), {}}).ok());
    const CheckpointPtr read = std::move(source).finish();
    CheckpointBuilder builder("b", "b");
    PieceImport import(builder, *read);
    const TensorId to = addFloats(builder, "w", {8, 2});
    Slab lower = wholeSlab(Shape{4, 2});
    lower.to.offset[0] = 4;
    ASSERT_TRUE(import.addThrough(to, from, lower).ok());
    const CheckpointPtr out = std::move(builder).finish();
    const Coverage coverage = coverageOf(*out, to);
    EXPECT_EQ(coverage.missingCells, 16u); // the upper half is nobody's
    std::vector<std::string> expected;
    for (const Hole& hole : coverage.holes)
        expected.push_back(hole.expected ? out->file(out->stream(out->pieces().at(*hole.expected).source.stream).file).name : "nobody");
    EXPECT_THAT(expected, ElementsAre("nobody", "gone.pt"));
}

TEST(PieceImport, FindingsSpeakOfTheNewNumbers)
{
    CheckpointBuilder source("a", "a");
    const FileId file = source.addFile(importedFile("x.pt"));
    const TensorId tensor = addFloats(source, "w", {1});
    source.addFinding({Severity::Warning, "odd", "w is odd.", tensor, file, std::nullopt});
    source.addLost({"v", RoleKind::Weight, "v is lost."}, "lost-tensor", file);
    const CheckpointPtr read = std::move(source).finish();
    CheckpointBuilder builder("b", "b");
    builder.addFile(importedFile("other.pt"));
    addFloats(builder, "other", {1});
    PieceImport import(builder, *read);
    const TensorId to = addFloats(builder, "w", {1});
    import.addFindings([&](TensorId) { return to; });
    const CheckpointPtr out = std::move(builder).finish();
    ASSERT_EQ(out->findings().size(), 2u);
    EXPECT_EQ(out->findings()[0].tensor, to);
    EXPECT_EQ(out->file(out->findings()[0].file).name, "x.pt");
    EXPECT_EQ(out->findings()[1].tensor, kNoTensor);
    EXPECT_FALSE(out->findings()[1].lost.has_value());
}

TEST(PieceImport, WithinACheckpointKeepsItsNumbers)
{
    CheckpointBuilder source("a", "a");
    const FileId file = source.addFile(importedFile("x.pt"));
    const TensorId whole = addFloats(source, "w", {4, 3});
    ASSERT_TRUE(source.addWhole(whole, {source.streamOf(file), 64, source.holder({}), {}}).ok());
    const CheckpointPtr read = std::move(source).finish();
    CheckpointBuilder builder(*read);
    PieceImport import = PieceImport::within(builder, *read);
    const TensorId column = addFloats(builder, "w of a rank", {4, 1});
    Slab last = wholeSlab(Shape{4, 1});
    last.from.offset[1] = 2;
    ASSERT_TRUE(import.addThrough(column, whole, last).ok());
    const CheckpointPtr out = std::move(builder).finish();
    EXPECT_EQ(out->files().size(), 1u);
    std::vector<std::int64_t> offsets;
    for (const auto& places : placesOf(*out, column))
        offsets.push_back(places.at(0).second);
    EXPECT_THAT(offsets, ElementsAre(72, 84, 96, 108));
}

} // namespace
} // namespace shardlens
