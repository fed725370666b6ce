#pragma once

#include "core/format/colossalai/optimizer_names.h"
#include "core/format/colossalai/stored_file.h"
#include "core/model/checkpoint_builder.h"

#include <functional>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

namespace shardlens::colossalai {

// A key that is a whole number: "12".
[[nodiscard]] std::optional<std::int64_t> parameterId(std::string_view text);
// The groups of an optimizer: a list of dictionaries with `params`. What is none of them is left out.
[[nodiscard]] std::vector<OptimizerGroup> groupsOf(pickle::Value list);

// The states of numbered parameters from files of families D and E: {id: {state: value}}, the same below "state", or flattened as "state.ID.STATE" (§6, §7).
// They become tensors once their names are known.
class OptimizerStates {
public:
    OptimizerStates(CheckpointBuilder& builder, JobContext& job) : m_builder(builder), m_job(job) {}

    // Takes what a file holds of the ids that are wanted. The file must be readable.
    Status add(StoredFile file, const std::function<bool(std::int64_t)>& isWanted);
    // Adds all as tensors: under the parameter's name, or its number.
    Status finish(const std::map<std::int64_t, std::string>& names);

    [[nodiscard]] const std::set<std::int64_t>& ids() const { return m_ids; }
    [[nodiscard]] std::vector<NumberedStates> shapes() const;
    // Of an unsharded file, which holds them itself.
    [[nodiscard]] const std::vector<OptimizerGroup>& groups() const { return m_groups; }
    [[nodiscard]] bool hasGroups() const { return m_hasGroups; }

private:
    struct Source {
        StoredFile stored;
        std::unique_ptr<PieceImport> import;
    };
    // A tensor of a file, or a number.
    struct State {
        std::int64_t id = 0;
        std::string name;
        std::size_t source = 0;
        TensorId tensor = kNoTensor;
        DType dtype{};
        Shape shape;
        std::vector<std::byte> number;
    };

    void addTensors(std::size_t source, const std::function<bool(std::int64_t)>& isWanted);
    void addNumbers(std::size_t source, const std::function<bool(std::int64_t)>& isWanted);
    void addFlattenedValue(std::size_t source, std::int64_t id, const std::string& name, TensorId tensor);
    void addFlattenedGroups(std::size_t source, TensorId tensor);
    void addPlain(std::size_t source, std::int64_t id, const std::string& name, pickle::Value value);
    [[nodiscard]] Result<std::shared_ptr<const pickle::Graph>> pickleIn(const StoredFile& file, TensorId tensor);
    [[nodiscard]] std::set<std::string> nonTensorKeys(std::size_t source);
    void find(Severity severity, const char* code, std::string text, std::size_t source);

    CheckpointBuilder& m_builder;
    JobContext& m_job;
    std::vector<Source> m_sources;
    std::vector<State> m_found;
    std::set<std::int64_t> m_ids;
    std::vector<OptimizerGroup> m_groups;
    bool m_hasGroups = false;
};

} // namespace shardlens::colossalai
