#pragma once

#include "core/base/result.h"
#include "core/format/colossalai/file_names.h"
#include "core/format/target.h"
#include "core/layout/rule_set.h"
#include "core/layout/selection.h"
#include "core/model/checkpoint_builder.h"
#include "core/model/piece_import.h"

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace shardlens::colossalai {

// How a target is to be written.
struct TargetShape {
    std::uint32_t tp = 1;
    std::uint32_t pp = 1;
    std::optional<std::uint32_t> rank; // only that dist id
    Container container = Container::Bin;
    Container stateContainer = Container::Bin; // of the optimizer's files
    std::string prefix;
    std::uint64_t shardBytes = 0; // §4.3
    bool keepObjects = false;     // of unknown classes, in what is taken over from a source of this format
};

// A tensor of the model that is written.
struct ModelTensor {
    std::string name;
    TensorId source{};
    DType dtype{};
    bool isBuffer = false;
    std::optional<std::size_t> tiedTo; // an earlier one with the same values
    std::uint32_t stage = 0;
    std::optional<std::size_t> dim;    // cut along it over the tensor-parallel ranks; else whole on each
};

// Which stage and which ranks hold each tensor (formats/colossalai.md §8, §10, §14). Refused: a dimension that the rules cut and `tp` does not divide, more stages than layers.
class ModelPlacement {
public:
    static Status place(const Checkpoint& source, const RuleSet& rules, const TargetShape& shape, std::vector<ModelTensor>& tensors);
    // Layers of each of `stages` stages: the middle ones get one more where they do not divide.
    [[nodiscard]] static std::vector<std::uint64_t> layersOfStages(std::uint64_t layers, std::uint32_t stages);
};

// Makes the files of dist ids: shards and their metadata.
class ModelWriter {
public:
    // `payload` begins as a copy of `source`. `folder` is put before names of files ("modeling/"). All must outlive it.
    ModelWriter(const Checkpoint& source, CheckpointBuilder& payload, const TargetShape& shape, std::string folder)
        : m_source(source), m_payload(payload), m_import(PieceImport::within(payload, source)), m_shape(shape), m_folder(std::move(folder))
    {
    }
    Status add(const std::vector<ModelTensor>& tensors, JobContext& job, Target& out);

private:
    struct Part {
        const ModelTensor* tensor = nullptr;
        TensorId id{}; // of the payload
        Shape shape;
        Shape offsets;
        std::uint64_t sizeBytes = 0;
        std::vector<const ModelTensor*> ties; // on the same storage, without metadata
    };

    Result<std::vector<Part>> partsOf(const std::vector<ModelTensor>& tensors, std::uint32_t stage, std::uint32_t rank);
    Result<Part> partOf(const ModelTensor& tensor, std::uint32_t rank);
    Status addShard(const std::string& name, std::uint32_t dist, std::span<const Part> parts, Target& out);
    [[nodiscard]] std::string metadataText(std::span<const Part> parts, const std::vector<std::string>& files, std::uint32_t dist) const;

    const Checkpoint& m_source;
    CheckpointBuilder& m_payload;
    PieceImport m_import;
    const TargetShape& m_shape;
    std::string m_folder;
};

} // namespace shardlens::colossalai
