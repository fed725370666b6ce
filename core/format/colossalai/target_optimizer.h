#pragma once

#include "core/base/result.h"
#include "core/encoding/torch_file.h"
#include "core/format/colossalai/target_model.h"
#include "core/format/target.h"
#include "core/format/target_file.h"
#include "core/model/checkpoint_builder.h"

#include <cstdint>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

namespace shardlens::colossalai {

// A state that is written.
struct StateTensor {
    std::string parameter;
    std::string state;
    TensorId source{};
    DType dtype{};
};

// Makes the files of an optimizer (family D): states keyed by numbers in the order of the model, an index, and the groups. Numbers and groups of a source of this
// format are kept; of others one group names all parameters.
class OptimizerWriter {
public:
    // `payload` begins as a copy of `source`. `folder` is put before names of files ("optimizer/"). All must outlive it.
    OptimizerWriter(const Checkpoint& source, CheckpointBuilder& payload, const TargetShape& shape,
                    std::string folder) : m_source(source), m_payload(payload), m_shape(shape), m_folder(std::move(folder)) {}

    // `order`: names of parameters in the order of the model.
    Status add(const std::vector<StateTensor>& states, const std::vector<std::string>& order, JobContext& job, Target& out);

private:
    struct Numbered {
        std::int64_t id = 0;
        std::vector<const StateTensor*> states;
        std::uint64_t sizeBytes = 0;
    };

    void number(const std::vector<StateTensor>& states, const std::vector<std::string>& order);
    [[nodiscard]] std::optional<std::int64_t> ownId(const std::string& parameter) const;
    Status addShards(JobContext& job, Target& out);
    Status addShard(const std::string& name, std::span<const Numbered> parameters, Target& out);
    Status addBinShard(const std::string& name, std::span<const Numbered> parameters, Target& out);
    Status addFlatShard(const std::string& name, std::span<const Numbered> parameters, Target& out);
    Result<pickle::Value> valueOf(TargetFileMaker& maker, const StateTensor& state) const;
    Status addGroups(JobContext& job, Target& out);
    Result<pickle::Value> ownGroups(TargetFileMaker& maker, JobContext& job, bool& isThere);
    [[nodiscard]] pickle::Value oneGroup(TargetFileMaker& maker) const;
    [[nodiscard]] pickle::Value namesOf(TargetFileMaker& maker, pickle::Value params) const;
    // Python's number where the source keeps one.
    [[nodiscard]] std::optional<std::vector<std::byte>> plainNumber(const StateTensor& state) const;

    const Checkpoint& m_source;
    CheckpointBuilder& m_payload;
    const TargetShape& m_shape;
    std::string m_folder;
    std::vector<Numbered> m_parameters; // ascending by id
    std::map<std::int64_t, std::string> m_names;
    std::vector<std::pair<std::int64_t, std::string>> m_index; // id → file
    StorageTensors m_storages; // of the source's file of groups
    std::set<std::string> m_leftOut;
};

} // namespace shardlens::colossalai
