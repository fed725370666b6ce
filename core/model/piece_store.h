#pragma once

#include "core/base/ids.h"
#include "core/model/affine.h"
#include "core/model/region.h"

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

namespace shardlens {

// How the bytes of a piece differ from the values they stand for.
struct SourceFlags {
    bool bigEndian = false;
    bool conjugate = false; // complex: the imaginary part is negated
    bool negate = false;

    [[nodiscard]] bool plain() const { return !bigEndian && !conjugate && !negate; }
    auto operator<=>(const SourceFlags&) const = default;
};

// Where the bytes of a piece are: a place in a stream (a file, an archive member to decode, values kept inline, or nothing: a missing file).
struct SourceView {
    StreamId stream{};
    std::uint64_t offset = 0;               // of the first cell
    std::span<const std::int64_t> strides;  // bytes per axis; empty: dense and row-major inside the region
    SourceFlags flags;
};

// A cheap view on one row of the store; dies with it.
struct Piece {
    PieceId id{};
    RegionView region;
    SourceView source;
    HolderId holder{};

    // Byte addresses of the piece's cells in its stream. `units` is the tensor's unitShape, `cellBytes` the bytes of a block.
    [[nodiscard]] AddressMap addresses(ShapeView units, std::uint64_t cellBytes) const;
    // First byte and number of bytes spanned in the stream.
    [[nodiscard]] std::uint64_t spanBytes(std::uint64_t cellBytes) const;
};

// All pieces of a checkpoint, in columns (36 bytes a flat piece, 16 more per axis of a box), ordered by tensor. Immutable once built.
class PieceStore {
public:
    [[nodiscard]] std::size_t size() const { return m_stream.size(); }
    [[nodiscard]] Piece at(PieceId id) const;
    // The pieces of a tensor are [first, last) in the order they were added.
    [[nodiscard]] std::size_t firstOf(TensorId tensor) const { return m_firstOfTensor[indexOf(tensor)]; }
    [[nodiscard]] std::size_t lastOf(TensorId tensor) const { return m_firstOfTensor[indexOf(tensor) + 1]; }
    [[nodiscard]] std::size_t countOf(TensorId tensor) const { return lastOf(tensor) - firstOf(tensor); }
    [[nodiscard]] TensorId tensorOf(PieceId id) const; // O(log tensors)
    [[nodiscard]] std::uint64_t bytesUsed() const;

private:
    friend class PieceStoreBuilder;

    std::vector<std::uint64_t> m_begin;  // flat: begin; box: index into the pool
    std::vector<std::uint64_t> m_end;    // flat: end; box: rank
    std::vector<std::uint64_t> m_offset;
    std::vector<StreamId> m_stream;
    std::vector<HolderId> m_holder;
    std::vector<std::uint8_t> m_flags;
    std::vector<std::uint64_t> m_pool;   // offsets, extents and, where a piece has them, strides
    std::vector<std::uint32_t> m_firstOfTensor;
};

// Collects pieces in any order of tensors; finish() sorts them by tensor, stably, in O(n).
class PieceStoreBuilder {
public:
    PieceStoreBuilder() = default;
    // Begins with the rows of a store, under the same tensors.
    explicit PieceStoreBuilder(const PieceStore& rows);

    struct Placement {
        StreamId stream{};
        std::uint64_t offset = 0;
        SourceFlags flags;
        HolderId holder{};
    };
    void add(TensorId tensor, const RegionView& region, const Placement& placement, std::span<const std::int64_t> strides = {});
    void reserve(std::size_t pieces);
    [[nodiscard]] std::size_t size() const { return m_tensor.size(); }
    [[nodiscard]] PieceStore finish(std::size_t tensorCount) &&;

private:
    std::vector<TensorId> m_tensor;
    PieceStore m_rows;
};

} // namespace shardlens
