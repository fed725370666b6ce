#pragma once

#include "core/format/deepspeed/parallel.h"
#include "core/format/deepspeed/reshard_groups.h"
#include "core/format/target.h"
#include "core/model/piece_import.h"

#include <map>
#include <set>
#include <string>
#include <utility>
#include <vector>

namespace shardlens::deepspeed {

// Cuts the tensors of a joined model for the tensor-parallel ranks of a target: each part is a tensor of the builder, which began with the joined model's.
class LocalTensors {
public:
    LocalTensors(CheckpointBuilder& builder, const Checkpoint& joined, const RuleSet& rules, const Facts& facts, std::uint32_t ranks)
        : m_builder(builder), m_joined(joined), m_rules(rules), m_facts(facts), m_ranks(ranks), m_import(PieceImport::within(builder, joined))
    {
    }

    // Refused: no rule for the name, sizes that do not divide.
    [[nodiscard]] Result<ParameterTensors> of(const std::string& name, const ParameterTensors& whole, std::uint32_t rank, bool moduleOnly);

private:
    [[nodiscard]] Result<TensorId> cut(const std::string& name, TensorId whole, std::uint32_t rank);

    CheckpointBuilder& m_builder;
    const Checkpoint& m_joined;
    const RuleSet& m_rules;
    const Facts& m_facts;
    std::uint32_t m_ranks;
    PieceImport m_import;
};

struct LayerFileOptions {
    std::string tag;
    bool keepObjects = false;
    DType trained = DType::F32; // of module copies that have to be made from masters
};
// The layer files for as many tensor-parallel ranks as `local` has: names and order of the source's files, their tensors cut.
Status writeLayers(const ParallelRun& parallel, const std::vector<TensorsByName>& local, const LayerFileOptions& options, const Checkpoint& payload, JobContext& job,
                   std::set<std::string>& leftOut, Target& out);

// The layer files of a universal checkpoint that has none beside it: what its names say, module copies rounded from the masters. Writes nothing where the
// model file holds a module. Refused: tied modules, whose layer nothing tells.
Status writeNamedLayers(const Checkpoint& joined, const std::vector<TensorsByName>& local, const LayerFileOptions& options, const Checkpoint& payload, JobContext& job,
                        std::set<std::string>& leftOut, Target& out);

} // namespace shardlens::deepspeed
