#include "core/format/megatron/local_tensors.h"

#include "core/base/text.h"

#include <fmt/format.h>

#include <algorithm>

namespace shardlens::megatron {
namespace {

constexpr std::uint64_t kMostRowsAdded = 1u << 16; // to a vocabulary; each is a piece

} // namespace

LocalTensors::LocalTensors(const RankSet& set, CheckpointPtr joined, const Sizes& target)
    : m_set(set), m_joined(std::move(joined)), m_target(target), m_builder(*m_joined), m_import(PieceImport::within(m_builder, *m_joined))
{
}

// Of what the rows of each rank are a multiple: a number of up to 12 digits.
std::uint64_t LocalTensors::vocabularyMultiple() const
{
    return factNumber(m_set.facts, "make_vocab_size_divisible_by").value_or(128);
}

// Rows that the vocabulary takes on the target (§5.11): filled up anew where its size is known, else as it is.
std::uint64_t LocalTensors::vocabularyRows(std::uint64_t rows) const
{
    const auto words = factNumber(m_set.facts, "vocab_size");
    if (!words || *words > rows)
        return rows;
    const std::uint64_t multiple = vocabularyMultiple() * m_target.tp;
    return (*words + multiple - 1) / multiple * multiple;
}

Result<LocalTensors::Part> LocalTensors::part(const std::string& parameter, TensorId tensor, std::uint32_t tp)
{
    const Tensor& held = m_joined->tensor(tensor);
    const Part whole{tensor, held.shape, elementCount(held.shape).value_or(0)};
    if (held.shape.empty())
        return whole;
    SHARDLENS_ASSIGN(const ShardRule* rule, m_set.rules.ruleFor(parameter, m_set.facts));
    if (rule == nullptr && m_target.tp == 1)
        return whole;
    if (rule == nullptr)
        return Error{ErrorCode::Refused, fmt::format("no tensor-parallel rule of {} matches it; --rules names a file with one", printable(m_set.rules.id))};
    if (rule->kind != Division::Kind::Split)
        return whole;
    Shape padded = held.shape;
    const bool isPadded = rule->vocabulary && rule->dim == 0 && vocabularyRows(padded[0]) != padded[0];
    if (rule->vocabulary && rule->dim == 0)
        m_paddedRows = padded[0] = vocabularyRows(padded[0]);
    if (padded[0] > held.shape[0] && padded[0] - held.shape[0] > kMostRowsAdded)
        return Error{ErrorCode::Refused, fmt::format("{} rows of a vocabulary would become {} to be a multiple of {} x tensor parallel {}, and at most {} are added",
                                                     groupedText(held.shape[0]), groupedText(padded[0]), groupedText(vocabularyMultiple()), m_target.tp,
                                                     groupedText(kMostRowsAdded))};
    if (isPadded)
        m_repadded[tensor] = padded[0];
    SHARDLENS_ASSIGN(const Division division, divisionOf(*rule, padded, m_target.tp, m_set.facts));
    Tensor local = held;
    local.shape = partShape(division, padded, tp);
    Part out{{}, local.shape, 0};
    std::vector<Slab> slabs = slabsInto(division, padded, tp);
    if (isPadded && m_joined->roleOf(tensor).kind == RoleKind::OptimizerState) { // of new rows: zeros
        Slab& rows = slabs.front();
        const std::uint64_t kept = held.shape[0] - std::min(held.shape[0], rows.from.offset[0]);
        rows.from.extent[0] = rows.to.extent[0] = local.shape[0] = std::min(rows.from.extent[0], kept);
    }
    out.tensor = m_builder.addTensor(local);
    out.values = elementCount(local.shape).value_or(0);
    for (const Slab& slab : slabs)
        if (out.values != 0)
            SHARDLENS_TRY(isPadded ? addPadded(out.tensor, tensor, slab) : m_import.addThrough(out.tensor, tensor, slab));
    return out;
}

// A slab of rows of the padded embedding, which is no tensor of the joined model: what it keeps, and copies of the last row.
Status LocalTensors::addPadded(TensorId target, TensorId whole, const Slab& slab)
{
    const std::uint64_t had = m_joined->tensor(whole).shape[0];
    Slab kept = slab;
    const std::uint64_t begin = slab.from.offset[0];
    const std::uint64_t end = begin + slab.from.extent[0];
    if (begin < had) {
        kept.from.extent[0] = kept.to.extent[0] = std::min(end, had) - begin;
        SHARDLENS_TRY(m_import.addThrough(target, whole, kept));
    }
    for (std::uint64_t row = std::max(begin, had); row < end; ++row) {
        Slab last = slab;
        last.from.offset[0] = had - 1;
        last.to.offset[0] = slab.to.offset[0] + (row - begin);
        last.from.extent[0] = last.to.extent[0] = 1;
        SHARDLENS_TRY(m_import.addThrough(target, whole, last));
    }
    return {};
}

} // namespace shardlens::megatron
