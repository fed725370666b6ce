#include "core/model/coverage.h"

#include "core/base/text.h"
#include "core/model/checkpoint_builder.h"
#include "tests/core/model/random_regions.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <algorithm>

namespace shardlens {
namespace {

using testing_support::Bitmap;
using testing_support::bitmapOf;
using testing_support::cellsOf;
using testing_support::RandomRegions;

constexpr std::size_t kAll = 100'000;
constexpr std::uint64_t kFileBytes = 1'000'000;

struct Held {
    Region region;
    bool missing;
};

// A checkpoint of one F32 tensor whose pieces lie in one file that is there and one that is not.
CheckpointPtr checkpointOf(const Shape& shape, const std::vector<Held>& pieces)
{
    CheckpointBuilder builder("x", "x");
    File file;
    file.size = kFileBytes;
    const FileId there = builder.addFile(file);
    file.state = File::State::Missing;
    const FileId gone = builder.addFile(file);
    Tensor tensor;
    tensor.parameter = builder.parameter("w");
    tensor.role = builder.role(RoleKind::Weight, "weight");
    tensor.dtype = DType::F32;
    tensor.shape = shape;
    const TensorId id = builder.addTensor(tensor);
    for (const Held& one : pieces) {
        CheckpointBuilder::Placement placement;
        placement.stream = builder.streamOf(one.missing ? gone : there);
        placement.holder = builder.holder({});
        const bool fits = volumeOf(viewOf(one.region)) * sizeof(float) <= kFileBytes;
        const std::vector<std::int64_t> strides(fits ? 0 : shape.size(), 0); // every value is the same one
        EXPECT_TRUE(builder.addPiece(id, viewOf(one.region), placement, strides));
    }
    return std::move(builder).finish();
}

void expectCoverage(const Shape& shape, const std::vector<Held>& pieces, std::uint64_t runsKept)
{
    const CheckpointPtr checkpoint = checkpointOf(shape, pieces);
    std::vector<int> present(cellsOf(shape), 0);
    Bitmap expectedByMissing(cellsOf(shape), false);
    for (const Held& one : pieces) {
        const Bitmap cells = bitmapOf(viewOf(one.region), shape);
        for (std::size_t cell = 0; cell < cells.size(); ++cell) {
            present[cell] += cells[cell] && !one.missing ? 1 : 0;
            expectedByMissing[cell] = expectedByMissing[cell] || (cells[cell] && one.missing);
        }
    }
    const Coverage coverage = coverageOf(*checkpoint, idAt<TensorId>(0), kAll, runsKept);
    EXPECT_EQ(coverage.missingCells, static_cast<std::uint64_t>(std::count(present.begin(), present.end(), 0)));
    EXPECT_EQ(coverage.complete(), coverage.missingCells == 0);

    std::vector<int> holes(present.size(), 0);
    for (const Hole& hole : coverage.holes) {
        const Bitmap cells = bitmapOf(viewOf(hole.region), shape);
        for (std::size_t cell = 0; cell < cells.size(); ++cell)
            if (cells[cell]) {
                ++holes[cell];
                EXPECT_EQ(hole.expected.has_value(), expectedByMissing[cell]) << "cell " << cell;
            }
    }
    for (std::size_t cell = 0; cell < present.size(); ++cell)
        EXPECT_EQ(holes[cell], present[cell] == 0 ? 1 : 0) << "cell " << cell;

    for (const Overlap& overlap : coverage.overlaps) {
        EXPECT_NE(overlap.first, overlap.second);
        const Bitmap first = bitmapOf(checkpoint->pieces().at(overlap.first).region, shape);
        const Bitmap second = bitmapOf(checkpoint->pieces().at(overlap.second).region, shape);
        const Bitmap both = bitmapOf(viewOf(overlap.region), shape);
        for (std::size_t cell = 0; cell < both.size(); ++cell)
            EXPECT_TRUE(!both[cell] || (first[cell] && second[cell])) << "cell " << cell;
    }
    const bool twice = std::any_of(present.begin(), present.end(), [](int count) { return count > 1; });
    EXPECT_EQ(!coverage.overlaps.empty(), twice);
}

TEST(Coverage, FindsEveryHoleAndWhetherAnythingIsHeldTwice)
{
    RandomRegions random(31);
    for (int round = 0; round < 4000 && !testing::Test::HasFailure(); ++round) {
        const Shape shape = random.shape();
        std::vector<Held> pieces;
        std::string trace = shapeText(shape);
        for (std::uint64_t count = random.below(6); count-- > 0;) {
            pieces.push_back({random.region(shape), random.below(4) == 0});
            trace += fmt::format(" {}{}", regionText(viewOf(pieces.back().region)), pieces.back().missing ? " gone" : "");
        }
        SCOPED_TRACE(trace);
        expectCoverage(shape, pieces, kRunsKept);
        expectCoverage(shape, pieces, 0); // by bands, as far as there are boxes
    }
}

// Every cell that two pieces hold is in some overlap: replicas are compared through them.
TEST(Coverage, OverlapsReachEveryCellThatIsHeldTwice)
{
    RandomRegions random(32);
    for (int round = 0; round < 4000 && !testing::Test::HasFailure(); ++round) {
        const Shape shape = random.shape();
        std::vector<Held> pieces;
        std::string trace = shapeText(shape);
        for (std::uint64_t count = random.below(6); count-- > 0;) {
            pieces.push_back({random.region(shape), false});
            trace += fmt::format(" {}", regionText(viewOf(pieces.back().region)));
        }
        SCOPED_TRACE(trace);
        const CheckpointPtr checkpoint = checkpointOf(shape, pieces);
        std::vector<int> held(cellsOf(shape), 0);
        for (const Held& one : pieces) {
            const Bitmap cells = bitmapOf(viewOf(one.region), shape);
            for (std::size_t cell = 0; cell < cells.size(); ++cell)
                held[cell] += cells[cell] ? 1 : 0;
        }
        for (const std::uint64_t runsKept : {kRunsKept, std::uint64_t{0}}) {
            std::vector<int> compared(held.size(), 0);
            const Coverage coverage = coverageOf(*checkpoint, idAt<TensorId>(0), kAll, runsKept);
            EXPECT_EQ(coverage.overlaps.size(), coverage.overlappingPairs);
            for (const Overlap& overlap : coverage.overlaps) {
                const Bitmap cells = bitmapOf(viewOf(overlap.region), shape);
                for (std::size_t cell = 0; cell < cells.size(); ++cell)
                    compared[cell] += cells[cell] ? 1 : 0;
            }
            // n pieces over a cell need n − 1 comparisons for a difference not to hide.
            for (std::size_t cell = 0; cell < held.size(); ++cell)
                EXPECT_GE(compared[cell], std::max(held[cell] - 1, 0)) << "cell " << cell;
        }
    }
}

// A few bytes in a file may claim any shape: neither time nor memory follows the number of rows.
TEST(Coverage, ColumnsOfAnEndlessTensorAreTakenTogether)
{
    const std::uint64_t rows = std::uint64_t{1} << 40;
    const auto column = [&](std::uint64_t at, std::uint64_t count) { return Box{{0, 0, at}, {rows, 2, count}}; };
    const CheckpointPtr holed = checkpointOf({rows, 2, 4}, {{column(0, 1), false}, {column(2, 1), true}, {column(3, 1), false}});
    const Coverage coverage = coverageOf(*holed, idAt<TensorId>(0));
    EXPECT_EQ(coverage.missingCells, rows * 4);
    ASSERT_EQ(coverage.holes.size(), 2u);
    EXPECT_EQ(coverage.holes.front().region, Region(Box{{0, 0, 1}, {rows, 2, 1}}));
    EXPECT_EQ(coverage.holes.front().expected, std::nullopt);
    EXPECT_EQ(coverage.holes[1].region, Region(Box{{0, 0, 2}, {rows, 2, 1}}));
    EXPECT_EQ(coverage.holes[1].expected, idAt<PieceId>(1));

    const CheckpointPtr twice = checkpointOf({rows, 2, 4}, {{column(0, 3), false}, {column(2, 2), false}});
    const Coverage doubled = coverageOf(*twice, idAt<TensorId>(0));
    EXPECT_TRUE(doubled.complete());
    ASSERT_EQ(doubled.overlaps.size(), 1u);
    EXPECT_EQ(doubled.overlaps.back().region, Region(Box{{0, 0, 2}, {rows, 2, 1}}));
}

// Layers in a stack, each of them cut by columns: millions of rows in thousands of boxes.
TEST(Coverage, AStackOfManyLayersThatAreCutByColumnsIsGoneThrough)
{
    const Shape shape{126, 16384, 16};
    std::vector<Held> pieces;
    for (std::uint64_t layer = 0; layer < shape[0]; ++layer)
        for (std::uint64_t column = 0; column < shape[2]; ++column)
            pieces.push_back({Box{{layer, 0, column}, {1, shape[1], 1}}, false});
    EXPECT_TRUE(coverageOf(*checkpointOf(shape, pieces), idAt<TensorId>(0)).complete());
    pieces.erase(pieces.begin() + 5 * 16 + 3);
    const Coverage coverage = coverageOf(*checkpointOf(shape, pieces), idAt<TensorId>(0));
    EXPECT_EQ(coverage.missingCells, shape[1]);
    ASSERT_EQ(coverage.holes.size(), 1u);
    EXPECT_EQ(coverage.holes.front().region, Region(Box{{5, 0, 3}, {1, shape[1], 1}}));
}

TEST(Coverage, BoxesOfAHoleThatGoesOnAreOne)
{
    const CheckpointPtr checkpoint = checkpointOf({6, 4}, {{Box{{0, 0}, {3, 2}}, false}, {Box{{3, 0}, {3, 2}}, false}, {Box{{4, 3}, {1, 1}}, false}});
    const Coverage coverage = coverageOf(*checkpoint, idAt<TensorId>(0), kAll, kAsBoxes);
    ASSERT_EQ(coverage.holes.size(), 3u);
    EXPECT_EQ(coverage.holes[0].region, Region(Box{{0, 2}, {4, 2}}));
    EXPECT_EQ(coverage.holes[1].region, Region(Box{{4, 2}, {1, 1}}));
    EXPECT_EQ(coverage.holes[2].region, Region(Box{{5, 2}, {1, 2}}));
    EXPECT_EQ(coverage.missingCells, 11u);
}

// Boxes that start at every row of their own, as no run has them: given up, and not taken for whole.
TEST(Coverage, WhatCannotBeGoneThroughIsNotComplete)
{
    const std::uint64_t rows = std::uint64_t{1} << 40;
    std::vector<Held> pieces;
    for (std::uint64_t i = 0; i < 12'000; ++i)
        pieces.push_back({Box{{i, 0, 0}, {rows - 2 * i, 2, 1}}, false});
    const CheckpointPtr checkpoint = checkpointOf({rows, 2, 2}, pieces);
    const Coverage coverage = coverageOf(*checkpoint, idAt<TensorId>(0));
    EXPECT_TRUE(coverage.scattered);
    EXPECT_FALSE(coverage.complete());
}

TEST(Coverage, LimitBoundsTheListNotTheCount)
{
    std::vector<Held> pieces;
    for (std::uint64_t i = 0; i < 50; ++i)
        pieces.push_back({FlatRange{i * 2, i * 2 + 1}, false});
    const CheckpointPtr checkpoint = checkpointOf({100}, pieces);
    const Coverage coverage = coverageOf(*checkpoint, idAt<TensorId>(0), 4);
    EXPECT_EQ(coverage.holes.size(), 4u);
    EXPECT_EQ(coverage.missingCells, 50u);
}

} // namespace
} // namespace shardlens
