#include "core/model/region.h"

#include "core/base/text.h"
#include "tests/core/model/random_regions.h"

#include <gtest/gtest.h>

#include <algorithm>

namespace shardlens {
namespace {

using testing_support::Bitmap;
using testing_support::bitmapOf;
using testing_support::cellsOf;
using testing_support::RandomRegions;

constexpr int kRounds = 4000;

std::vector<Box> boxesOf(FlatRange range, ShapeView shape)
{
    std::vector<Box> out;
    forEachBox(range, shape, [&](const Box& box) { out.push_back(box); });
    return out;
}

std::vector<FlatRange> runsOf(const Box& box, ShapeView shape)
{
    std::vector<FlatRange> out;
    forEachRun(box, shape, [&](FlatRange run) { out.push_back(run); });
    return out;
}

TEST(ForEachBox, CoversExactlyTheRangeWithFewBoxesInOrder)
{
    RandomRegions random(11);
    for (int round = 0; round < kRounds; ++round) {
        const Shape shape = random.shape();
        const FlatRange range = random.range(shape);
        SCOPED_TRACE(shapeText(shape) + " " + regionText(range));
        const std::vector<Box> boxes = boxesOf(range, shape);
        EXPECT_LE(boxes.size(), std::max<std::size_t>(1, shape.empty() ? 1 : 2 * shape.size() - 1));
        Bitmap covered(cellsOf(shape), false);
        std::uint64_t at = range.begin;
        for (const Box& box : boxes) {
            ASSERT_TRUE(isInside(BoxView(box), shape));
            const Bitmap part = bitmapOf(BoxView(box), shape);
            const auto first = static_cast<std::uint64_t>(std::find(part.begin(), part.end(), true) - part.begin());
            EXPECT_EQ(first, at) << "boxes follow each other";
            at = first + box.volume();
            for (std::size_t cell = 0; cell < part.size(); ++cell) {
                EXPECT_FALSE(part[cell] && covered[cell]) << "cell " << cell << " twice";
                covered[cell] = covered[cell] || part[cell];
            }
        }
        EXPECT_EQ(covered, bitmapOf(range, shape));
    }
}

TEST(ForEachRun, CoversExactlyTheBoxWithRunsThatDoNotTouch)
{
    RandomRegions random(12);
    for (int round = 0; round < kRounds; ++round) {
        const Shape shape = random.shape();
        const Box box = random.box(shape);
        SCOPED_TRACE(shapeText(shape) + " " + regionText(BoxView(box)));
        Bitmap covered(cellsOf(shape), false);
        std::uint64_t last = 0;
        bool first = true;
        for (const FlatRange run : runsOf(box, shape)) {
            EXPECT_FALSE(run.empty());
            EXPECT_TRUE(first || run.begin > last) << "ascending, with a gap: neighbours are merged";
            first = false;
            last = run.end;
            ASSERT_LE(run.end, covered.size());
            std::fill(covered.begin() + static_cast<std::ptrdiff_t>(run.begin), covered.begin() + static_cast<std::ptrdiff_t>(run.end),
                      true);
        }
        EXPECT_EQ(covered, bitmapOf(BoxView(box), shape));
    }
}

TEST(Intersect, HoldsTheCellsThatBothHold)
{
    RandomRegions random(13);
    for (int round = 0; round < kRounds; ++round) {
        const Shape shape = random.shape();
        const Box a = random.box(shape);
        const Box b = random.box(shape);
        const Bitmap inA = bitmapOf(BoxView(a), shape);
        const Bitmap inB = bitmapOf(BoxView(b), shape);
        Bitmap both(inA.size());
        for (std::size_t cell = 0; cell < both.size(); ++cell)
            both[cell] = inA[cell] && inB[cell];
        const Box common = intersect(a, b);
        EXPECT_EQ(common.volume(), static_cast<std::uint64_t>(std::count(both.begin(), both.end(), true)));
        if (common.volume() != 0) {
            EXPECT_EQ(bitmapOf(BoxView(common), shape), both);
        }
        const FlatRange one = random.range(shape);
        const FlatRange other = random.range(shape);
        const FlatRange meet = intersect(one, other);
        EXPECT_EQ(meet.empty(), std::max(one.begin, other.begin) >= std::min(one.end, other.end));
        if (!meet.empty()) {
            EXPECT_EQ(meet, (FlatRange{std::max(one.begin, other.begin), std::min(one.end, other.end)}));
        }
    }
}

TEST(Region, VolumeIsTheNumberOfCells)
{
    RandomRegions random(14);
    for (int round = 0; round < kRounds; ++round) {
        const Shape shape = random.shape();
        const Region region = random.region(shape);
        const Bitmap cells = bitmapOf(viewOf(region), shape);
        EXPECT_EQ(volumeOf(viewOf(region)), static_cast<std::uint64_t>(std::count(cells.begin(), cells.end(), true)));
        EXPECT_TRUE(isInside(viewOf(region), shape));
        EXPECT_EQ(copyOf(viewOf(region)), region);
    }
}

struct Outside {
    const char* name;
    Region region;
};

class IsInside : public testing::TestWithParam<Outside> {};

TEST_P(IsInside, RefusesWhatLeavesTheShape)
{
    const Shape shape{4, 6};
    EXPECT_FALSE(isInside(viewOf(GetParam().region), shape));
}

constexpr std::uint64_t kHuge = ~std::uint64_t{0};
INSTANTIATE_TEST_SUITE_P(Regions, IsInside,
                         testing::Values(Outside{"RangePastTheEnd", FlatRange{20, 25}}, Outside{"RangeBackwards", FlatRange{5, 4}},
                                         Outside{"HugeRange", FlatRange{0, kHuge}}, Outside{"BoxPastTheEnd", Box{{2, 0}, {3, 6}}},
                                         Outside{"BoxThatWraps", Box{{kHuge, 0}, {2, 6}}},
                                         Outside{"ExtentThatWraps", Box{{2, 0}, {kHuge, 6}}}, Outside{"OtherRank", Box{{0}, {4}}}),
                         [](const auto& row) { return row.param.name; });

TEST(RegionText, IsForPeople)
{
    EXPECT_EQ(regionText(FlatRange{4, 5}), "element 4");
    EXPECT_EQ(regionText(FlatRange{1000, 2000}), "elements 1,000 to 1,999");
    EXPECT_EQ(regionText(FlatRange{3, 3}), "no elements");
    const Box box{{6019, 0}, {4989, 4096}};
    EXPECT_EQ(regionText(BoxView(box)), "[6019:11008, 0:4096]");
}

TEST(UnitShape, CountsBlocks)
{
    EXPECT_EQ(unitShape(Shape{3, 8}, DType::F32), (Shape{3, 8}));
    EXPECT_EQ(unitShape(Shape{3, 8}, DType::F4), (Shape{3, 4}));
    EXPECT_EQ(unitShape(Shape{4, 3}, DType::F4), (Shape{6}));
    EXPECT_EQ(unitShape(Shape{}, DType::F32), Shape{});
}

} // namespace
} // namespace shardlens
