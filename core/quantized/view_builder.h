#pragma once

#include "core/model/checkpoint_builder.h"
#include "core/model/piece_import.h"

#include <memory>
#include <set>
#include <string_view>
#include <utility>
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
    // Facts and findings of the base that are not true of the view.
    void leaveOut(std::set<std::string_view> facts, std::set<std::string_view> findingCodes)
    {
        m_leftFacts = std::move(facts);
        m_leftCodes = std::move(findingCodes);
    }
    // After all tensors: names of tied parameters that are kept, findings, what could not be read.
    [[nodiscard]] CheckpointPtr finish() &&;

private:
    CheckpointPtr m_base;
    CheckpointBuilder m_builder;
    PieceImport m_import;
    std::vector<TensorId> m_newOf; // by tensor of the base; kNoTensor: replaced
    HolderId m_nobody;
    std::set<std::string_view> m_leftFacts; // of literals
    std::set<std::string_view> m_leftCodes;
};

} // namespace shardlens
