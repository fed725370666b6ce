#pragma once

#include "core/format/dcp_folder.h"
#include "core/format/torch_dist/key_names.h"

#include <cstdint>
#include <map>
#include <string>
#include <unordered_map>
#include <unordered_set>
#include <vector>

namespace shardlens::torch_dist {

// Turns the tensors of the container into those of the model: stacks of layers and experts are taken apart, parts are put together, and flattened states
// get their shape back (formats/megatron.md §6.4, §6.5, §6.8).
class StackReader {
public:
    // Builder and folder must outlive it.
    StackReader(CheckpointBuilder& builder, DcpFolder& folder);

    // LimitExceeded where the metadata take more pieces or tensors than any run has.
    Status read(JobContext& job);
    // The first tensor that an entry became, or kNoTensor; for findings.
    [[nodiscard]] TensorId tensorOf(const DcpEntry& entry) const;
    // Parameters that have a state of an optimizer, and what those states are called.
    [[nodiscard]] const std::vector<ParameterId>& trained() const { return m_trained; }
    [[nodiscard]] bool hasState(std::string_view state) const { return m_states.contains(std::string(state)); }
    [[nodiscard]] std::size_t flattened() const { return m_flattened; } // entries
    [[nodiscard]] std::size_t buffers() const { return m_buffers; }     // entries of optimizers that belong to no parameter
    [[nodiscard]] const std::map<std::string, std::uint64_t>& layers() const { return m_layers; } // by what stands before the number: "decoder.layers."

private:
    // A tensor of the container: a part of a stack, or all of it.
    struct Member {
        std::size_t entry = 0;
        std::size_t part = 0;
        Shape shape; // before it was flattened
        bool isFlat = false;
    };
    // Tensors of the model that one or several entries hold.
    struct Stack {
        Key::Kind kind{};
        std::string state;
        ModelName name;
        std::vector<Member> members; // by part
        Shape shape;                 // of all members together, with the stacked axes
        RoleKind role{};
        std::vector<TensorId> tensors; // layer by layer, in each the experts
    };

    void collect();
    void addEntry(std::size_t entry, const Key& key);
    void countLayers();
    void findMasters();
    void settleShapes();
    bool settleShape(Stack& stack, Member& member);
    bool joinMembers(Stack& stack);
    void splitMembers(Stack& stack);
    bool dropFalseStacks(Stack& stack); // whether it was one
    Status addTensors(JobContext& job);
    Status addStack(Stack& stack, std::uint64_t layer);
    void lose(const Stack& stack, const Member& member, std::string problem, const char* code);
    [[nodiscard]] RoleId roleOf(const Stack& stack);
    [[nodiscard]] const Shape* modelShape(const std::string& key) const;

    CheckpointBuilder& m_builder;
    DcpFolder& m_folder;
    std::string m_prefix;
    std::vector<Stack> m_stacks;
    std::map<std::string, std::size_t> m_byName;          // "state|whole" → number of the stack
    std::unordered_map<std::string, Shape> m_modelShapes; // by the key's model part
    std::unordered_set<std::string> m_masters;            // names of stacks that have one
    std::map<std::string, std::uint64_t> m_layers;
    std::vector<TensorId> m_tensorOf; // by entry
    std::vector<ParameterId> m_trained;
    std::unordered_set<std::string> m_states;
    std::unordered_set<std::string> m_names;
    std::uint64_t m_made = 0;
    std::size_t m_flattened = 0;
    std::size_t m_buffers = 0;
};

} // namespace shardlens::torch_dist
