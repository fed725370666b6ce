#include "core/model/affine.h"

namespace shardlens {
namespace {

std::int64_t addressOf(const AddressMap& map, ShapeView index)
{
    std::int64_t at = map.base;
    for (std::size_t axis = 0; axis < index.size(); ++axis)
        at += static_cast<std::int64_t>(index[axis]) * map.strides[axis];
    return at;
}

AffineCopy copyOfBox(const Box& box, const AddressMap& source, const AddressMap& target)
{
    AffineCopy copy{addressOf(source, box.offset), addressOf(target, box.offset), {}};
    for (std::size_t axis = 0; axis < box.extent.size(); ++axis) {
        const std::uint64_t count = box.extent[axis];
        if (count == 1)
            continue;
        const std::int64_t sourceStride = source.strides[axis];
        const std::int64_t targetStride = target.strides[axis];
        if (!copy.dims.empty()) {
            AffineCopy::Dim& outer = copy.dims.back();
            const auto n = static_cast<std::int64_t>(count);
            if (outer.sourceStride == sourceStride * n && outer.targetStride == targetStride * n) {
                outer = {outer.count * count, sourceStride, targetStride};
                continue;
            }
        }
        copy.dims.push_back({count, sourceStride, targetStride});
    }
    return copy;
}

} // namespace

AddressMap AddressMap::dense(const RegionView& region, ShapeView shape, std::uint64_t start, std::uint64_t cell)
{
    AddressMap map;
    map.base = static_cast<std::int64_t>(start);
    const auto* flat = std::get_if<FlatRange>(&region);
    const Shape strides = rowMajorStrides(flat != nullptr ? shape : std::get<BoxView>(region).extent);
    map.strides.reserve(strides.size());
    for (const std::uint64_t stride : strides)
        map.strides.push_back(static_cast<std::int64_t>(stride * cell));
    if (flat != nullptr) {
        map.base -= static_cast<std::int64_t>(flat->begin * cell);
        return map;
    }
    const auto& box = std::get<BoxView>(region);
    for (std::size_t axis = 0; axis < strides.size(); ++axis)
        map.base -= static_cast<std::int64_t>(box.offset[axis]) * map.strides[axis];
    return map;
}

AddressMap AddressMap::strided(const BoxView& box, std::span<const std::int64_t> strides, std::uint64_t start)
{
    AddressMap map{static_cast<std::int64_t>(start), {strides.begin(), strides.end()}};
    for (std::size_t axis = 0; axis < map.strides.size(); ++axis)
        map.base -= static_cast<std::int64_t>(box.offset[axis]) * map.strides[axis];
    return map;
}

std::uint64_t AffineCopy::cells() const
{
    std::uint64_t out = 1;
    for (const Dim& dim : dims)
        out *= dim.count;
    return out;
}

void forEachCopy(const RegionView& sourceRegion, const AddressMap& source, const RegionView& targetRegion, const AddressMap& target,
                 ShapeView shape, const std::function<void(const AffineCopy&)>& visit)
{
    const auto* sourceFlat = std::get_if<FlatRange>(&sourceRegion);
    const auto* targetFlat = std::get_if<FlatRange>(&targetRegion);
    if (sourceFlat != nullptr && targetFlat != nullptr) {
        const FlatRange common = intersect(*sourceFlat, *targetFlat);
        if (common.empty())
            return;
        // Both are runs of the same order, so one distance serves; a scalar has no axis to take it from and one cell to copy.
        const std::int64_t sourceStep = shape.empty() ? 0 : source.strides.back();
        const std::int64_t targetStep = shape.empty() ? 0 : target.strides.back();
        const auto at = static_cast<std::int64_t>(common.begin);
        AffineCopy copy{source.base + at * sourceStep, target.base + at * targetStep, {}};
        if (common.size() > 1)
            copy.dims.push_back({common.size(), sourceStep, targetStep});
        visit(copy);
        return;
    }
    const auto withBox = [&](const BoxView& box, const RegionView& other) {
        const auto meet = [&](const BoxView& part) {
            const Box common = intersect(box, part);
            if (common.volume() != 0)
                visit(copyOfBox(common, source, target));
        };
        if (const auto* flat = std::get_if<FlatRange>(&other))
            forEachBox(*flat, shape, [&](const Box& part) { meet(part); });
        else
            meet(std::get<BoxView>(other));
    };
    if (sourceFlat != nullptr)
        withBox(std::get<BoxView>(targetRegion), sourceRegion);
    else
        withBox(std::get<BoxView>(sourceRegion), targetRegion);
}

} // namespace shardlens
