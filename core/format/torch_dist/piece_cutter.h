#pragma once

#include "core/format/dcp_folder.h"

#include <cstdint>
#include <span>
#include <vector>

namespace shardlens::torch_dist {

// How many pieces chunks may be cut into: a few bytes of metadata could ask for any number.
class PieceBudget {
public:
    explicit PieceBudget(std::size_t chunks) : m_left(kMostExtraPieces + chunks) {}
    Status take();

private:
    static constexpr std::uint64_t kMostExtraPieces = 1u << 24;
    std::uint64_t m_left;
};

// Cuts chunks of a stack into pieces of the tensors that it is taken apart into.
class PieceCutter {
public:
    struct Target {
        const Shape& shape;                   // of the stack
        std::size_t stacked = 0;              // its first axes that number tensors: 0 to 2
        const std::vector<TensorId>& tensors; // row-major over those axes; kNoTensor: passed over
    };
    // All must outlive it.
    PieceCutter(CheckpointBuilder& builder, PieceBudget& budget, const Target& target) : m_builder(builder), m_budget(budget), m_target(target) {}

    // A chunk that is a box of the stack; `row` is added to its offset along the first axis that is not stacked.
    Status add(const DcpPiece& piece, std::uint64_t row);
    // A chunk of what was flattened (formats/megatron.md §6.5): `stored` is [shards along each axis …, elements of a shard], or all elements, of `original`.
    Status addFlattened(const DcpPiece& piece, const Shape& stored, const Shape& original, std::uint64_t row);

private:
    struct Cell {
        std::uint64_t tensor = 0; // number in the row-major order of the stacked axes
        std::uint64_t offset = 0; // bytes from the chunk's first
    };
    Status addBox(Box box, const CheckpointBuilder::Placement& placement, std::span<const std::int64_t> strides, std::uint64_t row);
    Status addCell(const Cell& cell, const Box& rest, const CheckpointBuilder::Placement& placement, std::span<const std::int64_t> strides);

    CheckpointBuilder& m_builder;
    PieceBudget& m_budget;
    Target m_target;
};

} // namespace shardlens::torch_dist
