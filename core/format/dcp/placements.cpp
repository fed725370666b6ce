#include "core/format/dcp/placements.h"

#include "core/base/checked.h"

#include <fmt/format.h>

#include <algorithm>

namespace shardlens::dcp {
namespace {

// Behind the first mesh dimensions whose sizes multiply to the split factor.
std::optional<std::size_t> placeOf(std::uint64_t splitFactor, const std::vector<std::size_t>& order, const std::vector<std::uint64_t>& meshShape)
{
    std::uint64_t product = 1;
    for (std::size_t at = 0; at <= order.size(); ++at) {
        if (product == splitFactor)
            return at;
        if (at < order.size())
            product *= meshShape[order[at]];
    }
    return std::nullopt;
}

} // namespace

Result<std::vector<ShardOrder>> shardOrderOf(const std::vector<Placement>& placements, const std::vector<std::uint64_t>& meshShape, std::size_t rank)
{
    std::vector<ShardOrder> out;
    for (std::size_t meshDim = placements.size(); meshDim-- > 0;) {
        const Placement& placement = placements[meshDim];
        if (placement.kind != Placement::Kind::Shard && placement.kind != Placement::Kind::StridedShard)
            continue;
        if (placement.dim >= rank)
            return Error{ErrorCode::Corrupt, fmt::format("a placement cuts dimension {} of a tensor of {}", placement.dim, rank)};
        auto at = std::find_if(out.begin(), out.end(), [&](const ShardOrder& one) { return one.dim == placement.dim; });
        if (at == out.end())
            at = out.insert(out.end(), {placement.dim, {}});
        std::optional<std::size_t> place = 0;
        if (placement.kind == Placement::Kind::StridedShard)
            place = placeOf(placement.splitFactor, at->meshDims, meshShape);
        if (!place)
            return Error{ErrorCode::Corrupt, fmt::format("no mesh dimensions multiply to the split factor {} of a strided shard", placement.splitFactor)};
        at->meshDims.insert(at->meshDims.begin() + static_cast<std::ptrdiff_t>(*place), meshDim);
    }
    return out;
}

Box localBox(ShapeView shape, const std::vector<ShardOrder>& order, const std::vector<std::uint64_t>& meshShape, const std::vector<std::uint64_t>& coordinate)
{
    Box out{Shape(shape.size(), 0), Shape(shape.begin(), shape.end())};
    for (const ShardOrder& one : order)
        for (const std::size_t meshDim : one.meshDims) {
            std::uint64_t& extent = out.extent[one.dim];
            const std::uint64_t chunk = std::max<std::uint64_t>(ceilDiv(extent, meshShape[meshDim]), 1);
            const std::uint64_t begin = std::min(chunk * coordinate[meshDim], extent);
            out.offset[one.dim] += begin;
            extent = std::min(chunk, extent - begin);
        }
    return out;
}

} // namespace shardlens::dcp
