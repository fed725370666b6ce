#pragma once

#include "core/format/megatron/local_tensors.h"
#include "core/format/megatron/optimizer_states.h"
#include "core/format/target_file.h"

#include <map>
#include <string>
#include <vector>

namespace shardlens::megatron {

// Writes the optimizer's states of a target's ranks: distrib_optim.pt with coalesced buffers (formats/megatron.md §8.3, F3), or the plain dictionary (§4.2).
// Set, parts and job must outlive it; it polls once a tensor.
class OptimizerWriter {
public:
    OptimizerWriter(const RankSet& set, LocalTensors& parts, const Sizes& target, JobContext& job);

    struct RankPlace {
        std::uint32_t tp = 0;
        std::uint32_t pp = 0;
        std::uint32_t ep = 0;
    };

    // Why the states cannot be carried over, as a sentence; empty where they can.
    [[nodiscard]] std::string whyNot(const Placement& placement) const;

    // `optimizer` of a rank's model file, made of that of `from`.
    [[nodiscard]] Result<pickle::Value> dictionary(TargetFileMaker& maker, const Rank& from, const std::vector<Placed>& placed, std::uint32_t tp);
    // The root of a rank's distrib_optim.pt.
    [[nodiscard]] Result<pickle::Value> buffers(TargetFileMaker& maker, const std::vector<Placed>& placed, const RankPlace& place);
    // How the buffers are laid out; for people.
    [[nodiscard]] std::string layoutText() const;

private:
    struct Member {
        const Placed* placed = nullptr;
        DType dtype{}; // of the model's own copy
        LocalTensors::Part model;
        bool isExpert = false;
    };
    struct Buffer {
        std::vector<const Member*> members;
        BufferLayout layout;
        std::uint32_t tp = 0;
    };
    struct PlainSource { // a dictionary of `rank`, by its number in the list where there are several
        const Rank& rank;
        std::size_t optimizer = 0;
    };
    [[nodiscard]] bool mergesExperts() const;
    [[nodiscard]] std::vector<Role> rolesOfBuffers() const;
    [[nodiscard]] std::vector<Role> rolesOfRanks() const;
    [[nodiscard]] std::string whyNoGroup() const;
    [[nodiscard]] TensorId modelShaped(const std::vector<std::pair<Role, TensorId>>& states) const;
    [[nodiscard]] const TensorId* stateOf(const std::string& parameter, const Role& role) const;
    [[nodiscard]] BufferRule ruleOf(bool ofExperts, bool isFirstStage) const;
    [[nodiscard]] Result<std::vector<Member>> membersOf(const std::vector<Placed>& placed, std::uint32_t tp);
    [[nodiscard]] Result<pickle::Value> bufferDict(TargetFileMaker& maker, const std::vector<Member>& members, std::uint32_t tp, const BufferRule& rule);
    [[nodiscard]] Result<pickle::Value> vectorOf(TargetFileMaker& maker, const Buffer& buffer, const Role& role, DType dtype);
    [[nodiscard]] Result<pickle::Value> plainDict(TargetFileMaker& maker, const PlainSource& from, const std::vector<Member>& members, std::uint32_t tp);
    [[nodiscard]] Result<pickle::Value> tensorOf(TargetFileMaker& maker, const Placed& placed, TensorId state, std::uint32_t tp);
    [[nodiscard]] Result<pickle::Value> statesDict(TargetFileMaker& maker, const Placed& placed, std::uint32_t tp);

    const RankSet& m_set;
    LocalTensors& m_parts;
    Sizes m_target;
    JobContext& m_job;
    std::map<std::string, std::vector<std::pair<Role, TensorId>>, std::less<>> m_states; // by parameter
};

} // namespace shardlens::megatron
