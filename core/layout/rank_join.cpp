#include "core/layout/rank_join.h"

#include "core/base/text.h"

#include <fmt/format.h>

namespace shardlens {
namespace {

Combine combineOf(const Division& division)
{
    switch (division.kind) {
    case Division::Kind::Replicated: return Combine::Replicas;
    case Division::Kind::Average: return Combine::Average;
    case Division::Kind::Split: return Combine::Exclusive;
    }
    return Combine::Exclusive;
}

const Tensor& tensorOf(const PieceImport& import, TensorId tensor)
{
    return import.from().tensor(tensor);
}

} // namespace

RankJoin::RankJoin(CheckpointBuilder& builder, const RuleSet& rules, Facts facts, std::uint32_t ranks)
    : m_builder(builder), m_rules(rules), m_facts(std::move(facts)), m_ranks(ranks)
{
}

void RankJoin::add(const std::string& name, std::uint32_t rank, PieceImport& import, TensorId tensor)
{
    const Role& role = import.from().roleOf(tensor);
    const auto [at, isNew] = m_groupOf.try_emplace({name, role.kind, role.name}, m_groups.size());
    if (isNew)
        m_groups.push_back({name, role, {}});
    m_groups[at->second].parts.try_emplace(rank, Part{&import, tensor});
}

// A single number is not cut: the optimizer's step.
Result<ShardRule> RankJoin::ruleOf(const Group& group)
{
    const Part& first = group.parts.begin()->second;
    if (m_ranks == 1 || tensorOf(*first.import, first.tensor).shape.empty())
        return ShardRule{};
    SHARDLENS_ASSIGN(const ShardRule* rule, m_rules.ruleFor(group.name, m_facts));
    if (rule == nullptr)
        return Error{ErrorCode::Refused, fmt::format("no tensor-parallel rule of {} matches it; --rules names a file with one", printable(m_rules.id))};
    m_anyNamed = m_anyNamed || m_rules.isNamed(rule);
    return *rule;
}

void RankJoin::lose(const Group& group, const Error& error)
{
    const Part& first = group.parts.begin()->second;
    const Checkpoint& from = first.import->from();
    const PieceStore& pieces = from.pieces();
    FileId file = kNoFile;
    if (pieces.countOf(first.tensor) != 0)
        file = first.import->file(from.stream(pieces.at(idAt<PieceId>(pieces.firstOf(first.tensor))).source.stream).file);
    m_builder.addLost({group.name, group.role.kind, fmt::format("{}: {}.", printable(group.name), error.text())}, "parts-do-not-fit", file);
}

void RankJoin::reportAbsent(const Group& group, TensorId tensor)
{
    for (std::uint32_t rank = 0; rank < m_ranks; ++rank)
        if (!group.parts.contains(rank) && !m_missing.contains(rank))
            m_builder.addFinding({Severity::Error, "missing-part",
                                  fmt::format("{}: tensor-parallel rank {} of {} does not hold it, and others do.", printable(group.name), rank, m_ranks), tensor, kNoFile, rank});
}

Status RankJoin::addMissing(const Group& group, TensorId tensor, const JoinedShape& joined)
{
    for (const auto& [rank, file] : m_missing) {
        if (group.parts.contains(rank))
            continue;
        const HolderId holder = m_builder.holder({{{Axis::Tp, rank}}});
        for (const Slab& slab : slabsOf(joined.division, joined.whole, rank))
            SHARDLENS_TRY(m_builder.addPiece(tensor, BoxView(slab.to), {m_builder.streamOf(file), 0, holder, {}}));
    }
    return {};
}

Status RankJoin::join(const Group& group)
{
    auto rule = ruleOf(group);
    if (!rule) {
        lose(group, rule.error());
        return {};
    }
    const Part& first = group.parts.begin()->second;
    Tensor made = tensorOf(*first.import, first.tensor);
    std::vector<Shape> shapes(m_ranks, made.shape); // of a rank that is not there: as its neighbour's
    for (const auto& [rank, part] : group.parts) {
        const Tensor& own = tensorOf(*part.import, part.tensor);
        shapes[rank] = own.shape;
        if (own.dtype != made.dtype) {
            lose(group, {ErrorCode::Corrupt, fmt::format("it is {} on rank {} and {} on rank {}", nameOf(made.dtype), group.parts.begin()->first, nameOf(own.dtype), rank)});
            return {};
        }
    }
    auto joined = joinedShape(*rule, shapes, m_facts);
    if (joined && joined->division.kind == Division::Kind::Split && info(made.dtype).valuesPerBlock != 1)
        joined = Error{ErrorCode::Unsupported, fmt::format("{} is stored in blocks, which are not cut over ranks", nameOf(made.dtype))};
    if (!joined) {
        lose(group, joined.error());
        return {};
    }
    made.shape = joined->whole;
    made.parameter = m_builder.parameter(group.name);
    made.role = m_builder.role(group.role.kind, group.role.name);
    made.combine = m_ranks == 1 ? made.combine : combineOf(joined->division);
    made.assumedReplicas = made.combine == Combine::Replicas && !made.shape.empty() && !rule->regex;
    const TensorId tensor = m_builder.addTensor(made);
    for (const auto& [rank, part] : group.parts) {
        if (joined->division.kind != Division::Kind::Split) {
            SHARDLENS_TRY(part.import->addWhole(tensor, part.tensor));
            continue;
        }
        for (const Slab& slab : slabsOf(joined->division, joined->whole, rank))
            SHARDLENS_TRY(part.import->addThrough(tensor, part.tensor, slab));
    }
    reportAbsent(group, tensor);
    return addMissing(group, tensor, *joined);
}

Status RankJoin::finish()
{
    for (const Group& group : m_groups)
        if (Status joined = join(group); !joined)
            return joined.takeError().within(printable(group.name));
    return {};
}

} // namespace shardlens
