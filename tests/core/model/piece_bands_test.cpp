#include "core/model/piece_bands.h"

#include "core/base/text.h"
#include "core/model/checkpoint_builder.h"
#include "tests/core/model/random_regions.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <optional>

namespace shardlens {
namespace {

using testing_support::Bitmap;
using testing_support::bitmapOf;
using testing_support::cellsOf;
using testing_support::RandomRegions;

CheckpointPtr checkpointOf(const Shape& shape, const std::vector<Region>& regions)
{
    CheckpointBuilder builder("x", "x");
    File file;
    file.size = 1'000'000;
    const FileId id = builder.addFile(file);
    const TensorId tensor = builder.addTensor({builder.parameter("w"), builder.role(RoleKind::Weight, "weight"), DType::F32, Combine::Replicas, true, shape});
    for (const Region& region : regions)
        EXPECT_TRUE(builder.addPiece(tensor, viewOf(region), {builder.streamOf(id), 0, builder.holder({}), {}}));
    return std::move(builder).finish();
}

// By the pieces themselves, cell by cell: the first piece that holds it.
std::vector<std::optional<std::size_t>> firstPieces(const Checkpoint& checkpoint, const Shape& shape)
{
    std::vector<std::optional<std::size_t>> out(cellsOf(shape));
    for (std::size_t row = checkpoint.pieces().lastOf(idAt<TensorId>(0)); row-- > 0;) {
        const Bitmap cells = bitmapOf(checkpoint.pieces().at(idAt<PieceId>(row)).region, shape);
        for (std::size_t cell = 0; cell < cells.size(); ++cell)
            if (cells[cell])
                out[cell] = row;
    }
    return out;
}

TEST(PieceBands, TakeEveryCellFromTheFirstPieceThatHoldsIt)
{
    RandomRegions random(77);
    int complete = 0;
    for (int round = 0; round < 6000 && !testing::Test::HasFailure(); ++round) {
        const Shape shape = random.shape();
        std::vector<Region> regions;
        std::string trace = shapeText(shape);
        for (std::uint64_t count = random.below(7); count-- > 0;) {
            regions.push_back(random.region(shape));
            trace += fmt::format(" {}", regionText(viewOf(regions.back())));
        }
        if (random.below(2) == 0)
            regions.push_back(FlatRange{0, cellsOf(shape)});
        SCOPED_TRACE(trace);
        const CheckpointPtr checkpoint = checkpointOf(shape, regions);
        const PieceStore& pieces = checkpoint->pieces();
        std::vector<PieceId> ids;
        for (std::size_t row = pieces.firstOf(idAt<TensorId>(0)); row < pieces.lastOf(idAt<TensorId>(0)); ++row)
            ids.push_back(idAt<PieceId>(row));
        const PieceBands bands = bandsOf(*checkpoint, ids, shape);
        const auto expected = firstPieces(*checkpoint, shape);
        EXPECT_EQ(bands.complete, std::all_of(expected.begin(), expected.end(), [](const auto& one) { return one.has_value(); }));
        EXPECT_FALSE(bands.scattered);
        complete += bands.complete && !expected.empty() ? 1 : 0;
        std::uint64_t at = 0;
        for (const PieceBands::Band& band : bands.bands) {
            EXPECT_EQ(band.cells.begin, at);
            at = band.cells.end;
            std::vector<std::optional<std::size_t>> taken(band.cells.size());
            const auto parts = bands.of(band);
            EXPECT_TRUE(std::is_sorted(parts.begin(), parts.end(), [](const auto& a, const auto& b) { return a.piece < b.piece; }));
            for (auto part = parts.rbegin(); part != parts.rend(); ++part) { // as they are read
                const Bitmap cells = bitmapOf(pieces.at(part->piece).region, shape);
                std::uint64_t count = 0;
                for (std::uint64_t cell = band.cells.begin; cell < band.cells.end; ++cell)
                    if (cells[cell]) {
                        taken[cell - band.cells.begin] = indexOf(part->piece);
                        ++count;
                    }
                EXPECT_LE(part->cells, count) << indexOf(part->piece); // less where an equal part is read from another
            }
            for (std::uint64_t cell = band.cells.begin; cell < band.cells.end; ++cell)
                EXPECT_EQ(taken[cell - band.cells.begin], expected[cell]) << "cell " << cell;
        }
        if (bands.complete && !expected.empty()) {
            EXPECT_EQ(at, expected.size());
        }
    }
    EXPECT_GT(complete, 1000);
}

// A grid takes an entry a chunk, however many rows a chunk has, and copies take none.
TEST(PieceBands, AreAsManyAsTheChunksOfAGrid)
{
    const Shape shape{1, 4096, 4096};
    std::vector<Region> regions;
    for (int copy = 0; copy < 2; ++copy)
        for (std::uint64_t row = 0; row < 4096; row += 64)
            for (std::uint64_t column = 0; column < 4096; column += 512)
                regions.push_back(Box{{0, row, column}, {1, 64, 512}});
    CheckpointBuilder builder("x", "x");
    File file;
    file.size = 1u << 30;
    const FileId id = builder.addFile(file);
    const TensorId tensor = builder.addTensor({builder.parameter("w"), builder.role(RoleKind::Weight, "weight"), DType::F32, Combine::Replicas, true, shape});
    std::vector<PieceId> ids;
    for (const Region& region : regions) {
        ids.push_back(idAt<PieceId>(ids.size()));
        ASSERT_TRUE(builder.addPiece(tensor, viewOf(region), {builder.streamOf(id), 0, builder.holder({}), {}}));
    }
    const PieceBands bands = bandsOf(*std::move(builder).finish(), ids, shape);
    EXPECT_TRUE(bands.complete);
    EXPECT_TRUE(bands.overlaps);
    EXPECT_EQ(bands.bands.size(), 64u);
    EXPECT_EQ(bands.parts.size(), 512u);
}

} // namespace
} // namespace shardlens
