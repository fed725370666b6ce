#include "core/format/deepspeed/flat_vector.h"

#include "core/base/checked.h"
#include "core/base/text.h"

#include <fmt/format.h>

#include <algorithm>

namespace shardlens::deepspeed {
namespace {

// The 1-D tensor of one rank.
Result<TorchTensor> vectorOf(const RankFile& file, pickle::Value value)
{
    if (!TorchFile::isTensor(value))
        return Error{ErrorCode::Corrupt, "a flat tensor is expected, and there is none"};
    SHARDLENS_ASSIGN(auto tensor, file.torch->tensorOf(value));
    if (tensor.shape.size() != 1 || !tensor.contiguous || info(tensor.dtype).valuesPerBlock != 1)
        return Error{ErrorCode::Corrupt, fmt::format("a dense one-dimensional tensor is expected, and it is {} {}", nameOf(tensor.dtype), shapeText(tensor.shape))};
    return tensor;
}

} // namespace

std::map<std::uint32_t, TorchPieces> piecesOfOptimizers(Run& run)
{
    std::map<std::uint32_t, TorchPieces> out;
    for (auto& [rank, file] : run.optimizers)
        if (file.torch)
            out.emplace(rank, TorchPieces(run.builder, file.id, *file.torch));
    return out;
}

Result<FlatVector> FlatVector::gather(Run& run, std::map<std::uint32_t, TorchPieces>& pieces, const std::vector<std::uint32_t>& ranks,
                                      const TensorOfRank& tensorOf, const Expected& expected)
{
    FlatVector out;
    out.m_dtype = expected.dtype;
    bool first = true;
    for (const std::uint32_t rank : ranks) {
        const RankFile& file = run.optimizers.at(rank);
        Part part{0, 0, rank, {}, static_cast<std::uint32_t>(out.m_parts.size())};
        if (!file.torch) {
            out.m_anyMissing = true;
            part.placement = {run.builder.streamOf(file.id), 0, run.rank(rank), {}};
            out.m_parts.push_back(part);
            continue;
        }
        auto tensor = vectorOf(file, tensorOf(rank));
        if (!tensor)
            return tensor.takeError().within(printable(run.builder.file(file.id).name));
        if (!first && tensor->dtype != out.m_dtype)
            return Error{ErrorCode::Corrupt, fmt::format("rank {} holds {}, the ranks before it {}", rank, nameOf(tensor->dtype), nameOf(out.m_dtype))};
        first = false;
        out.m_dtype = tensor->dtype;
        part.length = tensor->shape[0];
        part.placement = pieces.at(rank).placementOf(*tensor, run.rank(rank));
        out.m_longest = std::max(out.m_longest, part.length);
        out.m_parts.push_back(part);
    }
    // Of two ranks that hold something the lower is full; with fewer the longest may have lost its padding, and only the arithmetic knows.
    const auto holding = std::count_if(out.m_parts.begin(), out.m_parts.end(), [](const Part& part) { return part.length > 0; });
    if (out.m_anyMissing && holding < 2)
        out.m_longest = std::max(out.m_longest, expected.part);
    std::uint64_t begin = 0;
    for (Part& part : out.m_parts) {
        const bool missing = !run.optimizers.at(part.rank).torch;
        if (missing) {
            part.length = out.m_longest;
            out.m_missing += part.length;
        }
        if (out.m_anyMissing)
            begin = checkedMul(part.position, out.m_longest).value_or(0);
        part.begin = begin;
        begin += part.length; // lengths are bounded by the files' sizes, and ranks by their number
    }
    return out;
}

FlatVector FlatVector::of(std::vector<Part> parts, DType dtype)
{
    FlatVector out;
    out.m_dtype = dtype;
    for (const Part& part : parts)
        out.m_longest = std::max(out.m_longest, part.length);
    out.m_parts = std::move(parts);
    return out;
}

Status FlatVector::addPieces(CheckpointBuilder& builder, TensorId tensor, std::uint64_t begin, std::uint64_t count, std::uint64_t firstValue) const
{
    const std::uint64_t cell = info(m_dtype).bytesPerBlock;
    auto part = std::upper_bound(m_parts.begin(), m_parts.end(), begin,
                                 [](std::uint64_t at, const Part& one) { return at < one.begin + one.length; });
    for (; part != m_parts.end() && part->begin < begin + count; ++part) {
        const FlatRange common = intersect({begin, begin + count}, {part->begin, part->begin + part->length});
        if (common.empty())
            continue;
        CheckpointBuilder::Placement placement = part->placement;
        placement.offset += (common.begin - part->begin) * cell;
        SHARDLENS_TRY(builder.addPiece(tensor, FlatRange{firstValue + common.begin - begin, firstValue + common.end - begin}, placement));
    }
    return {};
}

void FlatVector::markPadding(CheckpointBuilder& builder, std::uint64_t begin, std::uint64_t count) const
{
    const std::uint64_t cell = info(m_dtype).bytesPerBlock;
    for (const Part& part : m_parts) {
        const FlatRange common = intersect({begin, begin + count}, {part.begin, part.begin + part.length});
        if (!common.empty())
            builder.addPadding(part.placement.stream, part.placement.offset + (common.begin - part.begin) * cell, common.size() * cell);
    }
}

} // namespace shardlens::deepspeed
