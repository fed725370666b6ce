#pragma once

#include "core/base/result.h"
#include "core/model/checkpoint_builder.h"

#include <functional>
#include <span>
#include <vector>

namespace shardlens {

// A box of one index space that is a box of another: the cell `from.offset + i` is the cell `to.offset + i`. Equal extents.
struct Slab {
    Box from;
    Box to;
};

// The slab of a tensor that is all of another of the same shape.
[[nodiscard]] Slab wholeSlab(ShapeView shape);

// Takes files, their metadata, streams and values kept inline of one checkpoint over into another that is being built, and relabels its pieces: a tensor of the one
// becomes part of a tensor of the other (DESIGN.md §1, "a view re-labels pieces"). No payload is read. Builder and checkpoint must outlive it.
class PieceImport {
public:
    // `holders` are added to those of every piece: "tp 1" for the file of tensor-parallel rank 1. Several imports into one builder are fine.
    PieceImport(CheckpointBuilder& builder, const Checkpoint& from, std::vector<Holder::Coordinate> holders = {});
    // Of pieces that lie in the builder's own checkpoint already: `from` is what the builder was made of.
    [[nodiscard]] static PieceImport within(CheckpointBuilder& builder, const Checkpoint& from);

    [[nodiscard]] const Checkpoint& from() const { return *m_from; }
    [[nodiscard]] FileId file(FileId id) const { return id == kNoFile ? kNoFile : m_files[indexOf(id)]; }

    // The pieces of `source`, as far as they lie in slab.from, become pieces of `target` (of the builder, and of the same dtype). Boxes count cells of
    // unitShape() of each tensor.
    Status addThrough(TensorId target, TensorId source, const Slab& slab);
    // All of `source` is all of `target`.
    Status addWhole(TensorId target, TensorId source);
    // Findings, about the files' new numbers. `tensorOf` gives the new number of the tensor that a finding is about, or kNoTensor.
    void addFindings(const std::function<TensorId(TensorId)>& tensorOf);

private:
    PieceImport() = default;
    Status addBox(TensorId target, const Slab& slab, const Piece& piece, const AddressMap& addresses, const BoxView& cells, std::uint64_t cellBytes);

    CheckpointBuilder* m_builder = nullptr;
    const Checkpoint* m_from = nullptr;
    std::vector<FileId> m_files;
    std::vector<StreamId> m_streams;
    std::vector<HolderId> m_holders;
};

} // namespace shardlens
