#include "core/layout/rank_join.h"

#include "core/base/text.h"

#include <fmt/format.h>

#include <algorithm>

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
    add(name, import.from().roleOf(tensor), rank, import, tensor);
}

void RankJoin::add(const std::string& name, const Role& role, std::uint32_t rank, PieceImport& import, TensorId tensor)
{
    const auto [at, isNew] = m_groupOf.try_emplace({name, role.kind, role.name}, m_groups.size());
    if (isNew)
        m_groups.push_back({name, role, {}});
    m_groups[at->second].parts[rank].push_back({&import, tensor});
}

// A single number is not cut: the optimizer's step.
Result<ShardRule> RankJoin::ruleOf(const Group& group)
{
    const Part& first = group.parts.begin()->second.front();
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
    const Part& first = group.parts.begin()->second.front();
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

// A mean needs every rank's values, and values that have one.
Status RankJoin::checkMean(const Group& group, DType dtype) const
{
    if (dtype != DType::F64 && dtype != DType::F32 && dtype != DType::F16 && dtype != DType::BF16)
        return Error{ErrorCode::Unsupported, fmt::format("its value is the mean of the ranks' values, which {} has none of", nameOf(dtype))};
    for (std::uint32_t rank = 0; rank < m_ranks; ++rank)
        if (!group.parts.contains(rank) && !m_missing.contains(rank))
            return Error{ErrorCode::Corrupt, fmt::format("its value is the mean of the ranks' values, and tensor-parallel rank {} of {} does not hold it", rank, m_ranks)};
    return {};
}

// Refused where the parts differ in dtype or do not fit.
Result<JoinedShape> RankJoin::shapeOf(const Group& group, const ShardRule& rule)
{
    const Part& first = group.parts.begin()->second.front();
    const Tensor& model = tensorOf(*first.import, first.tensor);
    std::vector<Shape> shapes(m_ranks, model.shape); // of a rank that is not there: as its neighbour's
    for (const auto& [rank, parts] : group.parts)
        for (const Part& part : parts) {
            const Tensor& own = tensorOf(*part.import, part.tensor);
            if (own.dtype != model.dtype)
                return Error{ErrorCode::Corrupt, fmt::format("it is {} on rank {} and {} on rank {}", nameOf(model.dtype), group.parts.begin()->first, nameOf(own.dtype), rank)};
            if (&part != &parts.front() && own.shape != shapes[rank])
                return Error{ErrorCode::Corrupt, fmt::format("its copies of rank {} are {} and {}", rank, shapeText(shapes[rank]), shapeText(own.shape))};
            shapes[rank] = own.shape;
        }
    SHARDLENS_ASSIGN(JoinedShape joined, joinedShape(rule, shapes, m_facts));
    if (joined.division.kind == Division::Kind::Average && m_ranks > 1)
        SHARDLENS_TRY(checkMean(group, model.dtype));
    if (joined.division.kind == Division::Kind::Split && m_ranks > 1 && info(model.dtype).valuesPerBlock != 1)
        return Error{ErrorCode::Unsupported, fmt::format("{} is stored in blocks, which are not cut over ranks", nameOf(model.dtype))};
    return joined;
}

Status RankJoin::join(const Group& group)
{
    auto rule = ruleOf(group);
    auto joined = rule ? shapeOf(group, *rule) : Result<JoinedShape>(rule.takeError());
    if (!joined) {
        lose(group, joined.error());
        return {};
    }
    const Part& first = group.parts.begin()->second.front();
    Tensor made = tensorOf(*first.import, first.tensor);
    const bool hasReplicas = std::any_of(group.parts.begin(), group.parts.end(), [](const auto& rank) { return rank.second.size() > 1; });
    made.shape = joined->whole;
    made.parameter = m_builder.parameter(group.name);
    made.role = m_builder.role(group.role.kind, group.role.name);
    made.combine = m_ranks == 1 && !hasReplicas ? made.combine : combineOf(joined->division);
    if (hasReplicas && made.combine == Combine::Exclusive)
        made.combine = Combine::Replicas;
    made.unprovenCopies = m_ranks > 1 && joined->division.kind == Division::Kind::Replicated && !made.shape.empty() && !rule->regex;
    const TensorId tensor = m_builder.addTensor(made);
    for (const auto& [rank, parts] : group.parts)
        for (const Part& part : parts) {
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
