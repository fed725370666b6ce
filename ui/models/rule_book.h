#pragma once

#include "core/layout/rule_set.h"
#include "core/model/checkpoint.h"

#include <QString>

#include <memory>
#include <stop_token>
#include <vector>

namespace shardlens::ui {

// The rules by which a checkpoint was joined, read for its parameters: which rule divides which. Immutable; building matches every name with every
// pattern and is meant for a worker.
class RuleBook {
public:
    // nullptr where a stop was requested.
    [[nodiscard]] static std::shared_ptr<const RuleBook> build(CheckpointPtr checkpoint, const std::stop_token& stop);

    // The id that the checkpoint names; empty: it was not joined by rules.
    [[nodiscard]] const std::string& id() const { return m_id; }
    // nullptr where the id is none of a file: they came with the checkpoint, or with a file that is gone.
    [[nodiscard]] const RuleSet* rules() const { return m_rules ? &*m_rules : nullptr; }
    // nullptr: no rule is known to divide it. The one for everything else is a rule too.
    [[nodiscard]] const ShardRule* ruleOf(ParameterId parameter) const { return m_ruleOf.empty() ? nullptr : m_ruleOf[indexOf(parameter)]; }
    // What is known for the rules' conditions.
    [[nodiscard]] const Facts& facts() const { return m_facts; }
    // A weight, else the first tensor, of each parameter of that rule, in the model's order.
    [[nodiscard]] std::vector<TensorId> tensorsOf(const ShardRule* rule) const;
    [[nodiscard]] std::uint32_t ranks() const { return m_checkpoint->topology().sizeOf(Axis::Tp); }
    // How a rule divides a tensor of it. Refused where the rule names sizes that the checkpoint does not say.
    [[nodiscard]] Result<Division> divisionFor(const ShardRule& rule, TensorId tensor) const
    {
        return divisionOf(rule, m_checkpoint->tensor(tensor).shape, ranks(), m_facts);
    }
    [[nodiscard]] const CheckpointPtr& checkpoint() const { return m_checkpoint; }

    // "Cut along dimension 0, each of 2 segments by itself (gate, up), over 2 ranks of tensor parallelism."
    [[nodiscard]] QString divisionSentence(TensorId tensor) const;
    // "Rule mlp\.linear_fc1 of Megatron core names (megatron-core)."; empty where there is none.
    [[nodiscard]] QString ruleSentence(TensorId tensor) const;

private:
    [[nodiscard]] const ShardRule* choose(const std::string& name, TensorId tensor) const;

    CheckpointPtr m_checkpoint;
    std::string m_id;
    std::optional<RuleSet> m_rules;
    Facts m_facts;
    std::vector<const ShardRule*> m_ruleOf; // by ParameterId, into m_rules
    std::vector<TensorId> m_tensorOf;       // by ParameterId
};

using RuleBookPtr = std::shared_ptr<const RuleBook>;

// What the pieces alone say about how a tensor is cut: "Cut along dimension 0 into 4 parts, on 4 ranks."
[[nodiscard]] QString cutSentence(const Checkpoint& checkpoint, TensorId tensor);

} // namespace shardlens::ui
