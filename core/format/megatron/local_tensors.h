#pragma once

#include "core/format/megatron/placement.h"
#include "core/format/megatron/rank_set.h"

#include <cstdint>
#include <map>

namespace shardlens::megatron {

// The parts that the ranks of a target hold of the joined model's tensors, as tensors of its payload, which begins with those of the model under the same
// numbers. The set must outlive it.
class LocalTensors {
public:
    LocalTensors(const RankSet& set, CheckpointPtr joined, const Sizes& target);

    // A rank's part: the first `values` of `shape` are those of `tensor`, what is left is zero (rows of padding of an optimizer's state, §5.11).
    struct Part {
        TensorId tensor{};
        Shape shape;
        std::uint64_t values = 0;
    };
    // Refused: no rule, sizes that do not divide, a vocabulary that would be filled up with very many rows. `parameter` is the name in the whole model, which says the rule.
    [[nodiscard]] Result<Part> part(const std::string& parameter, TensorId tensor, std::uint32_t tp);

    [[nodiscard]] CheckpointBuilder& builder() { return m_builder; }
    [[nodiscard]] const Checkpoint& joined() const { return *m_joined; }
    // Tensors whose rows of padding are others than the source's: how many rows the target has.
    [[nodiscard]] const std::map<TensorId, std::uint64_t>& repadded() const { return m_repadded; }
    [[nodiscard]] std::uint64_t paddedRows() const { return m_paddedRows; } // of the vocabulary; 0 where no part was asked for
    [[nodiscard]] CheckpointPtr finish() && { return std::move(m_builder).finish(); }

private:
    [[nodiscard]] std::uint64_t vocabularyMultiple() const;
    [[nodiscard]] std::uint64_t vocabularyRows(std::uint64_t rows) const;
    Status addPadded(TensorId target, TensorId whole, const Slab& slab);

    const RankSet& m_set;
    CheckpointPtr m_joined;
    Sizes m_target;
    CheckpointBuilder m_builder;
    PieceImport m_import;
    std::uint64_t m_paddedRows = 0;
    std::map<TensorId, std::uint64_t> m_repadded;
};

} // namespace shardlens::megatron
