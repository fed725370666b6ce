// Which box of a tensor a process of a device mesh holds (formats/pytorch.md §9.7, §12.8), against the definition itself: lists of indices that are cut in turn.
#include "core/format/dcp/placements.h"

#include "core/base/text.h"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>
#include <numeric>
#include <random>

namespace shardlens::dcp {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using Mesh = std::vector<std::uint64_t>;

constexpr Placement kWhole{};

Placement shard(std::size_t dim)
{
    return {Placement::Kind::Shard, dim, 1};
}

Placement strided(std::size_t dim, std::uint64_t splitFactor)
{
    return {Placement::Kind::StridedShard, dim, splitFactor};
}

std::vector<Mesh> coordinatesOf(const Mesh& mesh)
{
    std::vector<Mesh> out{{}};
    for (const std::uint64_t size : mesh) {
        std::vector<Mesh> longer;
        for (const Mesh& one : out)
            for (std::uint64_t i = 0; i < size; ++i) {
                longer.push_back(one);
                longer.back().push_back(i);
            }
        out = std::move(longer);
    }
    return out;
}

Box boxAt(const Shape& shape, const std::vector<Placement>& placements, const Mesh& mesh, const Mesh& coordinate)
{
    const auto order = shardOrderOf(placements, mesh, shape.size());
    EXPECT_TRUE(order.ok()) << (order ? "" : order.error().text());
    return order ? localBox(shape, *order, mesh, coordinate) : Box{};
}

// "[2, 0]+[2, 5]" of every process, in the order of the ranks.
std::vector<std::string> boxes(const Shape& shape, const std::vector<Placement>& placements, const Mesh& mesh)
{
    std::vector<std::string> out;
    for (const Mesh& coordinate : coordinatesOf(mesh)) {
        const Box box = boxAt(shape, placements, mesh, coordinate);
        out.push_back(shapeText(box.offset) + "+" + shapeText(box.extent));
    }
    return out;
}

TEST(DcpPlacements, TheWorkedExamples)
{
    EXPECT_THAT(boxes({2, 5}, {shard(1), shard(1)}, {2, 2}), ElementsAre("[0, 0]+[2, 2]", "[0, 2]+[2, 1]", "[0, 3]+[2, 1]", "[0, 4]+[2, 1]"));
    EXPECT_THAT(boxes({5}, {shard(0)}, {4}), ElementsAre("[0]+[2]", "[2]+[2]", "[4]+[1]", "[5]+[0]"));
    EXPECT_THAT(boxes({3}, {shard(0)}, {8}), ElementsAre("[0]+[1]", "[1]+[1]", "[2]+[1]", "[3]+[0]", "[3]+[0]", "[3]+[0]", "[3]+[0]", "[3]+[0]"));
    EXPECT_THAT(boxes({16}, {strided(0, 2), shard(0)}, {2, 2}), ElementsAre("[0]+[4]", "[8]+[4]", "[4]+[4]", "[12]+[4]"));
    EXPECT_THAT(boxes({4, 2}, {kWhole, shard(0)}, {2, 2}), ElementsAre("[0, 0]+[2, 2]", "[2, 0]+[2, 2]", "[0, 0]+[2, 2]", "[2, 0]+[2, 2]"));
    EXPECT_THAT(boxes({}, {kWhole}, {2}), ElementsAre("[]+[]", "[]+[]"));
    EXPECT_THAT(boxes({0, 3}, {shard(0)}, {2}), ElementsAre("[0, 0]+[0, 3]", "[0, 0]+[0, 3]"));
}

TEST(DcpPlacements, WhatDoesNotFitIsRefused)
{
    EXPECT_THAT(shardOrderOf({shard(2)}, {2}, 2).error().text(), HasSubstr("cuts dimension 2 of a tensor of 2"));
    EXPECT_THAT(shardOrderOf({strided(0, 3), shard(0)}, {2, 2}, 1).error().text(), HasSubstr("no mesh dimensions multiply to the split factor 3"));
    EXPECT_THAT(shardOrderOf({strided(0, 2), kWhole}, {2, 2}, 1).error().text(), HasSubstr("split factor 2"));
    EXPECT_FALSE(shardOrderOf({strided(0, 2), shard(1)}, {2, 2}, 2).ok()); // the other dimension cuts nothing here
}

// ---- against the definition ----

using Indices = std::vector<std::uint64_t>;

// torch.chunk: pieces of ceil(size / count); the last ones are shorter or none.
Indices chunkOf(const Indices& all, std::uint64_t count, std::uint64_t which)
{
    const std::uint64_t size = (all.size() + count - 1) / count;
    Indices out;
    for (std::uint64_t i = size * which; i < size * (which + 1) && i < all.size(); ++i)
        out.push_back(all[i]);
    return out;
}

// _StridedShard as torch cuts from left to right: count × factor chunks, of which each process gets every count-th.
Indices stridedChunksOf(const Indices& all, std::uint64_t count, std::uint64_t factor, std::uint64_t which)
{
    Indices out;
    for (std::uint64_t j = 0; j < factor; ++j) {
        const Indices part = chunkOf(all, count * factor, which + j * count);
        out.insert(out.end(), part.begin(), part.end());
    }
    return out;
}

// What a process holds along each dimension of the tensor.
std::vector<Indices> heldBy(const Shape& shape, const std::vector<Placement>& placements, const Mesh& mesh, const Mesh& coordinate)
{
    std::vector<Indices> out;
    for (const std::uint64_t extent : shape) {
        out.emplace_back(extent);
        std::iota(out.back().begin(), out.back().end(), std::uint64_t{0});
    }
    for (std::size_t k = 0; k < mesh.size(); ++k) {
        const Placement& one = placements[k];
        if (one.kind == Placement::Kind::Shard)
            out[one.dim] = chunkOf(out[one.dim], mesh[k], coordinate[k]);
        else if (one.kind == Placement::Kind::StridedShard)
            out[one.dim] = stridedChunksOf(out[one.dim], mesh[k], one.splitFactor, coordinate[k]);
    }
    return out;
}

std::string textOfIndices(const std::vector<Indices>& held)
{
    std::string out;
    for (const Indices& one : held)
        out += fmt::format("[{}]", fmt::join(one, ","));
    return out;
}

std::string textOfBox(const Box& box)
{
    std::vector<Indices> held;
    for (std::size_t axis = 0; axis < box.offset.size(); ++axis) {
        held.emplace_back(box.extent[axis]);
        std::iota(held.back().begin(), held.back().end(), box.offset[axis]);
    }
    return textOfIndices(held);
}

// Every element is held once by each of the processes that differ in replicated dimensions alone.
void expectEveryElementOnce(const Shape& shape, const std::vector<Placement>& placements, const Mesh& mesh)
{
    std::map<Mesh, std::uint64_t> cellsOf; // by the coordinates along replicated dimensions
    std::map<Mesh, std::vector<Box>> boxesOf;
    for (const Mesh& coordinate : coordinatesOf(mesh)) {
        Mesh replica;
        for (std::size_t k = 0; k < mesh.size(); ++k)
            if (placements[k].kind == Placement::Kind::Replicate)
                replica.push_back(coordinate[k]);
        const Box box = boxAt(shape, placements, mesh, coordinate);
        cellsOf[replica] += box.volume();
        for (const Box& other : boxesOf[replica])
            EXPECT_EQ(intersect(BoxView(box), BoxView(other)).volume(), 0u);
        boxesOf[replica].push_back(box);
    }
    for (const auto& [replica, cells] : cellsOf)
        EXPECT_EQ(cells, elementCount(shape).value_or(0));
}

TEST(DcpPlacements, AnyPlainOnesAreWhatTheDefinitionSays)
{
    std::mt19937 random(8);
    for (int round = 0; round < 400; ++round) {
        Shape shape(random() % 4);
        for (std::uint64_t& extent : shape)
            extent = random() % 12;
        Mesh mesh(1 + random() % 3);
        for (std::uint64_t& size : mesh)
            size = 1 + random() % 4;
        std::vector<Placement> placements(mesh.size());
        for (Placement& one : placements)
            if (!shape.empty() && random() % 4 != 0)
                one = shard(random() % shape.size());
        for (const Mesh& coordinate : coordinatesOf(mesh)) {
            const std::vector<Indices> held = heldBy(shape, placements, mesh, coordinate);
            const Box box = boxAt(shape, placements, mesh, coordinate);
            ASSERT_EQ(textOfBox(box), textOfIndices(held)) << fmt::format("{} on {}, round {}", shapeText(shape), shapeText(mesh), round);
        }
        expectEveryElementOnce(shape, placements, mesh);
    }
}

// The order of FSDP2 over tensor parallelism: later mesh dimensions cut first, each strided one by what is cut after it. Even sizes: with others
// torch's own cut from left to right is not what FSDP2 holds.
TEST(DcpPlacements, StridedOnesThatDivideAreWhatTheDefinitionSays)
{
    std::mt19937 random(9);
    for (int round = 0; round < 400; ++round) {
        Mesh mesh(2 + random() % 3);
        for (std::uint64_t& size : mesh)
            size = 1 + random() % 3;
        Shape shape{1 + random() % 3, 1 + random() % 3};
        std::vector<Placement> placements(mesh.size());
        std::map<std::size_t, std::uint64_t> factorOf;
        for (std::size_t k = mesh.size(); k-- > 0;) {
            if (random() % 5 == 0)
                continue;
            const std::size_t dim = random() % 2;
            placements[k] = factorOf.contains(dim) ? strided(dim, factorOf[dim]) : shard(dim);
            factorOf[dim] = (factorOf.contains(dim) ? factorOf[dim] : 1) * mesh[k];
        }
        for (const auto& [dim, factor] : factorOf)
            shape[dim] *= factor;
        for (const Mesh& coordinate : coordinatesOf(mesh))
            ASSERT_EQ(textOfBox(boxAt(shape, placements, mesh, coordinate)), textOfIndices(heldBy(shape, placements, mesh, coordinate))) << fmt::format("{} on {}, round {}", shapeText(shape), shapeText(mesh), round);
        expectEveryElementOnce(shape, placements, mesh);
    }
}

TEST(DcpPlacements, StridedOnesThatDoNotDivideHoldEveryElementOnce)
{
    for (std::uint64_t rows = 0; rows < 20; ++rows)
        for (const std::uint64_t tp : {1u, 2u, 3u})
            for (const std::uint64_t dp : {1u, 2u, 4u})
                expectEveryElementOnce({rows, 2}, {strided(0, tp), shard(0)}, {dp, tp});
}

} // namespace
} // namespace shardlens::dcp
