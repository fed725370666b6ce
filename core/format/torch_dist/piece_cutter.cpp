#include "core/format/torch_dist/piece_cutter.h"

#include "core/base/text.h"

#include <fmt/format.h>

#include <algorithm>

namespace shardlens::torch_dist {
namespace {

// Bytes from one index of an axis to the next, of a box that lies densely in row-major order.
std::vector<std::int64_t> denseStrides(ShapeView extent, std::uint64_t cellBytes)
{
    std::vector<std::int64_t> out(extent.size());
    std::uint64_t step = cellBytes;
    for (std::size_t axis = extent.size(); axis-- > 0;) {
        out[axis] = static_cast<std::int64_t>(step);
        step *= extent[axis];
    }
    return out;
}

std::uint64_t flatIndex(ShapeView at, ShapeView shape)
{
    std::uint64_t out = 0;
    for (std::size_t axis = 0; axis < shape.size(); ++axis)
        out = out * shape[axis] + at[axis];
    return out;
}

// The next index in row-major order; false behind the last.
bool advance(Shape& at, ShapeView extent)
{
    for (std::size_t axis = at.size(); axis-- > 0;) {
        if (++at[axis] < extent[axis])
            return true;
        at[axis] = 0;
    }
    return false;
}

} // namespace

Status PieceBudget::take()
{
    if (m_left == 0)
        return Error{ErrorCode::LimitExceeded, fmt::format("its chunks are cut into more than {} pieces by layers, experts and shards", groupedText(kMostExtraPieces))};
    --m_left;
    return {};
}

Status PieceCutter::addCell(const Cell& cell, const Box& rest, const CheckpointBuilder::Placement& placement, std::span<const std::int64_t> strides)
{
    SHARDLENS_TRY(m_budget.take());
    const TensorId tensor = m_target.tensors[cell.tensor];
    if (tensor == kNoTensor)
        return {};
    CheckpointBuilder::Placement at = placement;
    at.offset += cell.offset;
    const Shape& shape = m_builder.tensor(tensor).shape;
    const bool isWhole = strides.empty() && rest.extent == shape; // a box inside the tensor
    return isWhole ? m_builder.addWhole(tensor, at) : m_builder.addPiece(tensor, rest, at, strides);
}

Status PieceCutter::addBox(Box box, const CheckpointBuilder::Placement& placement, std::span<const std::int64_t> strides, std::uint64_t row)
{
    const std::size_t stacked = m_target.stacked;
    if (row > 0)
        box.offset[stacked] += row;
    std::vector<std::int64_t> dense;
    if (stacked > 0) {
        const TensorId any = *std::find_if(m_target.tensors.begin(), m_target.tensors.end() - 1, [](TensorId id) { return id != kNoTensor; });
        if (any == kNoTensor)
            return {};
        dense = denseStrides(box.extent, info(m_builder.tensor(any).dtype).bytesPerBlock);
    }
    const std::span<const std::int64_t> steps = strides.empty() ? std::span<const std::int64_t>(dense) : strides;
    const Box rest{Shape(box.offset.begin() + static_cast<std::ptrdiff_t>(stacked), box.offset.end()), Shape(box.extent.begin() + static_cast<std::ptrdiff_t>(stacked), box.extent.end())};
    const ShapeView counts = ShapeView(box.extent).first(stacked);
    Shape at(stacked, 0);
    do {
        Cell cell;
        for (std::size_t axis = 0; axis < stacked; ++axis) {
            cell.tensor = cell.tensor * m_target.shape[axis] + box.offset[axis] + at[axis];
            cell.offset += at[axis] * static_cast<std::uint64_t>(steps[axis]);
        }
        SHARDLENS_TRY(addCell(cell, rest, placement, strides.empty() ? strides : strides.subspan(stacked)));
    } while (advance(at, counts));
    return {};
}

Status PieceCutter::add(const DcpPiece& piece, std::uint64_t row)
{
    return addBox({Shape(piece.offset.begin(), piece.offset.end()), Shape(piece.extent.begin(), piece.extent.end())}, piece.placement, piece.strides, row);
}

Status PieceCutter::addFlattened(const DcpPiece& piece, const Shape& stored, const Shape& original, std::uint64_t row)
{
    const TensorId any = *std::find_if(m_target.tensors.begin(), m_target.tensors.end() - 1, [](TensorId id) { return id != kNoTensor; });
    if (any == kNoTensor)
        return {};
    const std::uint64_t cellBytes = info(m_builder.tensor(any).dtype).bytesPerBlock;
    const std::size_t axes = stored.size() - 1; // 0: all elements of the tensor in one row
    const std::vector<std::int64_t> dense = denseStrides(piece.extent, cellBytes);
    const std::span<const std::int64_t> steps = piece.strides.empty() ? std::span<const std::int64_t>(dense) : piece.strides;
    if (piece.extent.back() > 1 && steps.back() != static_cast<std::int64_t>(cellBytes))
        return Error{ErrorCode::Unsupported, "a chunk of a flattened optimizer state does not lie element by element"};
    Shape local = original;
    for (std::size_t axis = 0; axis < axes; ++axis)
        local[axis] /= stored[axis];
    const FlatRange range{piece.offset.back(), piece.offset.back() + piece.extent.back()};
    Shape at(axes, 0);
    do {
        CheckpointBuilder::Placement first = piece.placement;
        for (std::size_t axis = 0; axis < axes; ++axis)
            first.offset += at[axis] * static_cast<std::uint64_t>(steps[axis]);
        Status done;
        forEachBox(range, local, [&](const Box& box) {
            if (!done)
                return;
            CheckpointBuilder::Placement placement = first;
            placement.offset += (flatIndex(box.offset, local) - range.begin) * cellBytes;
            Box whole = box;
            for (std::size_t axis = 0; axis < axes; ++axis)
                whole.offset[axis] += (piece.offset[axis] + at[axis]) * local[axis];
            done = addBox(std::move(whole), placement, {}, row);
        });
        SHARDLENS_TRY(std::move(done));
    } while (advance(at, ShapeView(piece.extent).first(axes)));
    return {};
}

} // namespace shardlens::torch_dist
