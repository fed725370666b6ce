#pragma once

#include "core/layout/rule_set.h"
#include "core/model/checkpoint_builder.h"
#include "core/model/piece_import.h"

#include <cstdint>
#include <map>
#include <string>
#include <tuple>
#include <vector>

namespace shardlens {

// Puts the parts of tensor-parallel ranks together as the tensors of one model: each rank's pieces become pieces of the whole, by the rules.
// Builder, rules and imports must outlive it.
class RankJoin {
public:
    RankJoin(CheckpointBuilder& builder, const RuleSet& rules, Facts facts, std::uint32_t ranks);

    // A tensor of a rank, under the name that it has in the model. `import` is of the checkpoint that holds it, with the rank among its holders.
    // A second one of the same name and rank is a replica: another expert-parallel or pipeline rank's copy.
    void add(const std::string& name, std::uint32_t rank, PieceImport& import, TensorId tensor);
    // In another role than the one it has there.
    void add(const std::string& name, const Role& role, std::uint32_t rank, PieceImport& import, TensorId tensor);
    // The rank's file is not there: its parts are holes.
    void missing(std::uint32_t rank, FileId file) { m_missing.emplace(rank, file); }

    // Adds the tensors, in the order in which their names came. What cannot be put together is a lost tensor of the checkpoint: no rule, parts that do not
    // fit each other. A rank that lacks a part that others have is a finding.
    Status finish();
    // Whether any name matched a rule of the set by its pattern.
    [[nodiscard]] bool anyNamed() const { return m_anyNamed; }

private:
    struct Part {
        PieceImport* import = nullptr;
        TensorId tensor{};
    };
    struct Group {
        std::string name;
        Role role;
        std::map<std::uint32_t, std::vector<Part>> parts; // by rank; the first counts, the others are replicas
    };
    Status join(const Group& group);
    Result<JoinedShape> shapeOf(const Group& group, const ShardRule& rule);
    Result<ShardRule> ruleOf(const Group& group);
    Status checkMean(const Group& group, DType dtype) const;
    void lose(const Group& group, const Error& error);
    void reportAbsent(const Group& group, TensorId tensor);
    Status addMissing(const Group& group, TensorId tensor, const JoinedShape& joined);

    CheckpointBuilder& m_builder;
    const RuleSet& m_rules;
    Facts m_facts;
    std::uint32_t m_ranks;
    std::map<std::uint32_t, FileId> m_missing;
    std::vector<Group> m_groups;
    std::map<std::tuple<std::string, RoleKind, std::string>, std::size_t> m_groupOf; // by name and role
    bool m_anyNamed = false;
};

} // namespace shardlens
