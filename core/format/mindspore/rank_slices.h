#pragma once

#include "core/format/mindspore/file_layout.h"
#include "core/format/mindspore/run.h"
#include "core/layout/mindspore_strategy.h"
#include "core/model/piece_import.h"

#include <map>
#include <string>
#include <tuple>
#include <vector>

namespace shardlens::mindspore {

// A tensor of the source under the name that the target gives it.
struct SourceTensor {
    std::string name;
    TensorId tensor{};   // whole
    std::string typeName; // as MindSpore stores it, where the dtype does not say it
};

// What each rank of a target strategy holds of a source (formats/mindspore.md §5.6, §5.7): slices of what both sides list, copies of the rest from the source rank
// that the original would take, nothing of what belongs to other stages.
class RankSlices {
public:
    // `run` is the source where it is MindSpore's, with `joined` made of its builder; nullptr for others. Without a strategy of its own every tensor is whole.
    // All must outlive it.
    RankSlices(const RankRun* run, const CheckpointPtr& joined, const Strategy& target, std::vector<SourceTensor> tensors);

    // Refused: a dimension that does not divide, with the parameter.
    [[nodiscard]] Result<std::vector<OutputEntry>> entriesOf(std::uint64_t rank);
    // The source with the slices behind it.
    [[nodiscard]] const CheckpointBuilder& payload() const { return m_builder; }
    [[nodiscard]] CheckpointPtr finish() && { return std::move(m_builder).finish(); }
    // Tensors that both strategies cut, or that the target lists where the source is one model.
    [[nodiscard]] std::size_t transformed() const { return m_transformed; }
    // Names that one of the strategies cuts and the other does not list: each rank gets what one source rank holds, as it is.
    [[nodiscard]] const std::vector<std::string>& copiedSlices() const { return m_copiedSlices; }

private:
    [[nodiscard]] bool isListedBySource(const std::string& name) const;
    Result<TensorId> slice(const SourceTensor& tensor, const StrategyItem& item, std::uint64_t local);
    Result<TensorId> copy(const SourceTensor& tensor, const std::vector<const WeightsFile*>& files);
    Result<TensorId> entryTensor(const WeightsFile& file, const CkptEntry& entry);
    Status addOthers(const std::vector<const WeightsFile*>& files, std::vector<OutputEntry>& out);
    [[nodiscard]] std::vector<const WeightsFile*> filesFor(std::uint64_t local) const;
    [[nodiscard]] const Strategy* sourceStrategy() const { return m_run != nullptr && m_run->strategy ? &*m_run->strategy : nullptr; }

    const RankRun* m_run;
    const Strategy& m_target;
    std::vector<SourceTensor> m_tensors;
    CheckpointBuilder m_builder;
    PieceImport m_import;
    std::map<std::tuple<TensorId, std::uint32_t, std::uint64_t>, TensorId> m_slices; // by whole tensor, layout and slice
    std::map<const CkptEntry*, TensorId> m_copies;
    std::size_t m_transformed = 0;
    std::vector<std::string> m_copiedSlices;
};

// The entry of a file that is no tensor of the model, to be written again: a text, or opaque bytes. Refused: a part of a hash table.
[[nodiscard]] Result<OutputEntry> otherEntry(CheckpointBuilder& builder, const WeightsFile& file, const CkptEntry& entry);

} // namespace shardlens::mindspore
