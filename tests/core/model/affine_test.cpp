#include "core/model/affine.h"

#include "core/base/text.h"
#include "tests/core/model/random_regions.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <numeric>

namespace shardlens {
namespace {

using testing_support::Bitmap;
using testing_support::bitmapOf;
using testing_support::cellsOf;
using testing_support::RandomRegions;

constexpr std::int64_t kNothing = -1;

// Every cell that a copy moves, as (source address, target address).
void forEachCell(const AffineCopy& copy, const std::function<void(std::int64_t, std::int64_t)>& visit, std::size_t dim = 0,
                 std::int64_t source = 0, std::int64_t target = 0)
{
    if (dim == copy.dims.size()) {
        visit(copy.source + source, copy.target + target);
        return;
    }
    for (std::uint64_t i = 0; i < copy.dims[dim].count; ++i)
        forEachCell(copy, visit, dim + 1, source + static_cast<std::int64_t>(i) * copy.dims[dim].sourceStride,
                    target + static_cast<std::int64_t>(i) * copy.dims[dim].targetStride);
}

// Where each cell of the shape lies, as the brute force finds it: `region` packed from `start`, `cell` units each.
std::vector<std::int64_t> densePlaces(const RegionView& region, ShapeView shape, std::int64_t start, std::int64_t cell)
{
    const Bitmap inside = bitmapOf(region, shape);
    std::vector<std::int64_t> out(inside.size(), kNothing);
    for (std::size_t at = 0; at < inside.size(); ++at)
        if (inside[at]) {
            out[at] = start;
            start += cell;
        }
    return out;
}

void expectCopies(const Shape& shape, const Region& from, const Region& to)
{
    constexpr std::int64_t kSourceStart = 1000;
    constexpr std::int64_t kSourceCell = 4;
    constexpr std::int64_t kTargetStart = 70;
    SCOPED_TRACE(shapeText(shape) + " from " + regionText(viewOf(from)) + " to " + regionText(viewOf(to)));
    const auto sources = densePlaces(viewOf(from), shape, kSourceStart, kSourceCell);
    const auto targets = densePlaces(viewOf(to), shape, kTargetStart, 1);
    std::vector<std::pair<std::int64_t, std::int64_t>> expected;
    for (std::size_t cell = 0; cell < sources.size(); ++cell)
        if (sources[cell] != kNothing && targets[cell] != kNothing)
            expected.emplace_back(sources[cell], targets[cell]);

    std::vector<std::pair<std::int64_t, std::int64_t>> found;
    std::size_t copies = 0;
    const AddressMap source = AddressMap::dense(viewOf(from), shape, kSourceStart, kSourceCell);
    const AddressMap target = AddressMap::dense(viewOf(to), shape, kTargetStart, 1);
    forEachCopy(viewOf(from), source, viewOf(to), target, shape, [&](const AffineCopy& copy) {
        ++copies;
        const std::size_t before = found.size();
        forEachCell(copy, [&](std::int64_t a, std::int64_t b) { found.emplace_back(a, b); });
        EXPECT_EQ(copy.cells(), found.size() - before);
        for (const AffineCopy::Dim& dim : copy.dims)
            EXPECT_GT(dim.count, 1u);
    });
    std::sort(expected.begin(), expected.end());
    std::sort(found.begin(), found.end());
    EXPECT_EQ(found, expected);
    const bool flat = std::holds_alternative<FlatRange>(from) && std::holds_alternative<FlatRange>(to);
    const bool boxes = std::holds_alternative<Box>(from) && std::holds_alternative<Box>(to);
    EXPECT_LE(copies, flat || boxes || shape.empty() ? 1u : 2 * shape.size() - 1);
}

TEST(ForEachCopy, MovesEveryCommonCellToItsPlace)
{
    RandomRegions random(21);
    for (int round = 0; round < 6000; ++round) {
        const Shape shape = random.shape();
        expectCopies(shape, random.region(shape), random.region(shape));
        if (testing::Test::HasFailure())
            return;
    }
}

TEST(ForEachCopy, FollowsTheStridesOfAView)
{
    // A transposed [3, 5] in a file: element (i, j) at 100 + 2·(i + 3·j).
    const Shape shape{3, 5};
    const Box whole{{0, 0}, {3, 5}};
    const std::int64_t strides[] = {2, 6};
    const AddressMap source = AddressMap::strided(whole, strides, 100);
    const FlatRange all{0, 15};
    std::vector<std::int64_t> places(15, kNothing);
    forEachCopy(BoxView(whole), source, all, AddressMap::dense(all, shape, 0, 1), shape, [&](const AffineCopy& copy) {
        forEachCell(copy, [&](std::int64_t from, std::int64_t to) { places[static_cast<std::size_t>(to)] = from; });
    });
    for (std::int64_t i = 0; i < 3; ++i)
        for (std::int64_t j = 0; j < 5; ++j)
            EXPECT_EQ(places[static_cast<std::size_t>(i * 5 + j)], 100 + 2 * (i + 3 * j));
}

TEST(ForEachCopy, MergesWhatContinuesOnBothSides)
{
    const Shape shape{4, 6, 8};
    const Box rows{{1, 0, 0}, {2, 6, 8}};
    std::vector<AffineCopy> copies;
    forEachCopy(BoxView(rows), AddressMap::dense(BoxView(rows), shape, 0, 4), FlatRange{0, 192},
                AddressMap::dense(FlatRange{0, 192}, shape, 0, 4), shape, [&](const AffineCopy& copy) { copies.push_back(copy); });
    ASSERT_EQ(copies.size(), 1u);
    ASSERT_EQ(copies[0].dims.size(), 1u) << "one run of 96 cells";
    EXPECT_EQ(copies[0].dims[0].count, 96u);
    EXPECT_EQ(copies[0].source, 0);
    EXPECT_EQ(copies[0].target, 48 * 4);
}

} // namespace
} // namespace shardlens
