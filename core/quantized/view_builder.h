#pragma once

#include "core/model/checkpoint_builder.h"
#include "core/model/piece_import.h"

#include <memory>
#include <string_view>
#include <vector>

namespace shardlens {

// A checkpoint like another one in which some tensors stand for others: names, files, facts and findings are those of the base, and the pieces of kept tensors.
class ViewBuilder {
public:
    explicit ViewBuilder(CheckpointPtr base);

    [[nodiscard]] const Checkpoint& base() const { return *m_base; }
    [[nodiscard]] CheckpointBuilder& builder() { return m_builder; }
    // The tensor of the base, under its name.
    Status keep(TensorId tensor);
    // A tensor that `like` of the base is replaced by (among others), in the model's order; its bytes are an output of a computation.
    Status add(TensorId like, std::string_view name, Tensor tensor, StreamId bytes);
    // After all tensors: names of tied parameters that are kept, findings, what could not be read.
    [[nodiscard]] CheckpointPtr finish() &&;

private:
    CheckpointPtr m_base;
    CheckpointBuilder m_builder;
    PieceImport m_import;
    std::vector<TensorId> m_newOf; // by tensor of the base; kNoTensor: replaced
    HolderId m_nobody;
};

} // namespace shardlens
