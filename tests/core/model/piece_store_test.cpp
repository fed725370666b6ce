#include "core/model/piece_store.h"

#include "core/model/coverage.h"
#include "tests/core/model/random_regions.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <numeric>

namespace shardlens {
namespace {

using testing_support::RandomRegions;

struct Row {
    TensorId tensor;
    Region region;
    PieceStoreBuilder::Placement placement;
    std::vector<std::int64_t> strides;
};

std::vector<Row> randomRows(RandomRegions& random, std::size_t count, std::size_t tensors)
{
    std::vector<Row> rows;
    for (std::size_t i = 0; i < count; ++i) {
        Row row{idAt<TensorId>(random.below(tensors)), random.region(random.shape()), {}, {}};
        row.placement = {idAt<StreamId>(i),
                         1000 * i + random.below(1000),
                         {random.below(2) == 1, random.below(2) == 1, random.below(2) == 1},
                         idAt<HolderId>(random.below(9))};
        if (const auto* box = std::get_if<Box>(&row.region); box != nullptr && random.below(2) == 0)
            for (std::size_t axis = 0; axis < box->offset.size(); ++axis)
                row.strides.push_back(static_cast<std::int64_t>(random.below(100)));
        rows.push_back(row);
    }
    return rows;
}

TEST(PieceStore, KeepsEveryPieceOrderedByTensorThenByArrival)
{
    constexpr std::size_t kTensors = 7;
    for (std::uint32_t seed = 0; seed < 60; ++seed) {
        RandomRegions random(seed);
        const std::vector<Row> rows = randomRows(random, 200, kTensors);
        PieceStoreBuilder builder;
        for (const Row& row : rows)
            builder.add(row.tensor, viewOf(row.region), row.placement, row.strides);
        EXPECT_EQ(builder.size(), rows.size());
        const PieceStore store = std::move(builder).finish(kTensors);
        std::vector<std::size_t> order(rows.size());
        std::iota(order.begin(), order.end(), 0u);
        std::stable_sort(order.begin(), order.end(), [&](std::size_t a, std::size_t b) { return rows[a].tensor < rows[b].tensor; });
        ASSERT_EQ(store.size(), rows.size());
        for (std::size_t i = 0; i < rows.size(); ++i) {
            const Row& row = rows[order[i]];
            const Piece piece = store.at(idAt<PieceId>(i));
            EXPECT_EQ(store.tensorOf(piece.id), row.tensor);
            EXPECT_EQ(copyOf(piece.region), row.region);
            EXPECT_EQ(piece.source.stream, row.placement.stream);
            EXPECT_EQ(piece.source.offset, row.placement.offset);
            EXPECT_EQ(piece.source.flags, row.placement.flags);
            EXPECT_EQ(piece.holder, row.placement.holder);
            EXPECT_EQ((std::vector<std::int64_t>{piece.source.strides.begin(), piece.source.strides.end()}), row.strides);
            EXPECT_GE(i, store.firstOf(row.tensor));
            EXPECT_LT(i, store.lastOf(row.tensor));
        }
    }
}

TEST(PieceStore, TensorsWithoutPiecesAreEmptyRanges)
{
    PieceStoreBuilder builder;
    builder.add(idAt<TensorId>(2), FlatRange{0, 4}, {});
    const PieceStore store = std::move(builder).finish(5);
    EXPECT_EQ(store.countOf(idAt<TensorId>(0)), 0u);
    EXPECT_EQ(store.countOf(idAt<TensorId>(2)), 1u);
    EXPECT_EQ(store.countOf(idAt<TensorId>(4)), 0u);
    EXPECT_EQ(store.tensorOf(idAt<PieceId>(0)), idAt<TensorId>(2));
    EXPECT_EQ(std::move(PieceStoreBuilder{}).finish(0).size(), 0u);
}

TEST(PieceStore, AMillionPiecesTakeAtMost96BytesEach)
{
    constexpr std::size_t kPieces = 1'000'000;
    PieceStoreBuilder builder;
    builder.reserve(kPieces);
    const Shape offset{64, 0};
    const Shape extent{64, 128};
    for (std::size_t i = 0; i < kPieces; ++i) {
        if (i % 2 == 0)
            builder.add(idAt<TensorId>(i / 8), FlatRange{i, i + 4096}, {});
        else
            builder.add(idAt<TensorId>(i / 8), BoxView{offset, extent}, {});
    }
    const PieceStore store = std::move(builder).finish(kPieces / 8);
    EXPECT_EQ(store.size(), kPieces);
    EXPECT_LE(store.bytesUsed(), 96 * kPieces);
}

TEST(Piece, SpansFromItsFirstToItsLastByte)
{
    const Shape offset{0, 0};
    const Shape extent{3, 5};
    const std::int64_t strides[] = {2, 6};
    Piece piece;
    piece.region = BoxView{offset, extent};
    EXPECT_EQ(piece.spanBytes(2), 30u);
    piece.source.strides = strides;
    EXPECT_EQ(piece.spanBytes(2), 2u * 2 + 4 * 6 + 2);
    const Shape nothing{0, 5};
    piece.region = BoxView{offset, nothing};
    EXPECT_EQ(piece.spanBytes(2), 0u);
}

} // namespace
} // namespace shardlens
