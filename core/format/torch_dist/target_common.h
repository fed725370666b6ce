#pragma once

#include "core/format/target.h"
#include "core/format/target_file.h"
#include "core/format/torch_dist/target_source.h"

#include <optional>
#include <set>
#include <string>
#include <variant>
#include <vector>

namespace shardlens::torch_dist {

// The step of all parameters: a plain number, or a tensor of the source.
using TargetStep = std::variant<std::int64_t, double, TensorId>;

// Makes what is not sharded, and the objects of the container (formats/megatron.md §6.6).
class TargetCommon {
public:
    // All must outlive it. `hasStates`: the optimizer's are written.
    TargetCommon(const TargetSource& source, CheckpointBuilder& payload, bool keepObjects, bool hasStates) : m_source(source), m_payload(payload), m_keepObjects(keepObjects), m_hasStates(hasStates) {}

    // common.pt; `name` is its name in the target.
    [[nodiscard]] Result<TargetTorchFile> commonFile(const std::string& name, const std::optional<TargetStep>& step);
    // An object of the source as it is.
    [[nodiscard]] Result<TargetDcpItem> object(const SourceObject& object);
    // The list of one None.
    [[nodiscard]] Result<TargetDcpItem> nothing();
    // Whether what an object holds goes into common.pt.
    [[nodiscard]] bool isInCommon(const SourceObject& object) const;
    // Whether it belongs to the optimizer.
    [[nodiscard]] static bool isOfOptimizer(const SourceObject& object);
    // Classes of objects that were left out.
    [[nodiscard]] const std::set<std::string>& leftOut() const { return m_leftOut; }
    // What of the source's dictionary is not taken over: "rng_state"
    [[nodiscard]] const std::set<std::string>& dropped() const { return m_dropped; }

private:
    using Value = pickle::Value;
    Status withStorages(const std::shared_ptr<const TorchFile>& file, FileId id, std::uint64_t offset);
    [[nodiscard]] Result<TargetDcpItem> itemOf(TargetFileMaker maker, Value root);
    [[nodiscard]] Result<Value> arguments(TargetFileMaker& maker, Value args);
    [[nodiscard]] Result<Value> contentMetadata(TargetFileMaker& maker);
    [[nodiscard]] Result<Value> optimizer(TargetFileMaker& maker, const std::optional<TargetStep>& step);
    [[nodiscard]] Result<Value> optimizerOfRanks(TargetFileMaker& maker, Value optimizer, const std::optional<TargetStep>& step);
    [[nodiscard]] Result<Value> innerOfRanks(TargetFileMaker& maker, Value inner, const std::optional<TargetStep>& step);
    [[nodiscard]] Result<Value> optimizerOfObjects(TargetFileMaker& maker);
    [[nodiscard]] Result<Value> stateOf(TargetFileMaker& maker, const std::optional<TargetStep>& step);

    const TargetSource& m_source;
    CheckpointBuilder& m_payload;
    bool m_keepObjects;
    bool m_hasStates;
    StorageTensors m_storages;
    std::set<const TorchFile*> m_withStorages;
    std::set<std::string> m_leftOut;
    std::set<std::string> m_dropped;
};

} // namespace shardlens::torch_dist
