#include "core/layout/strategy_refine.h"

#include "core/layout/strategy_boxes.h"

#include <algorithm>
#include <functional>
#include <numeric>
#include <optional>

namespace shardlens::mindspore {
namespace {

constexpr std::int32_t kNoAxis = -1;

// A part of a tensor dimension and the device axis that cuts it.
struct SubDimension {
    std::uint64_t size = 1;
    std::int32_t axis = kNoAxis; // its size divides `size`
};

// One layout in the common device space.
struct Side {
    Shape axes;                                        // none of size 1; their product is the number of devices
    std::vector<std::vector<SubDimension>> dimensions; // of the tensor, most significant part first
};

// Factors of each axis, most significant first; nothing where an axis stays.
using Factors = std::vector<Shape>;

void dropOnes(Shape& sizes)
{
    std::erase(sizes, std::uint64_t{1});
}

// Puts the factors in the place of their axes. A part that such an axis cuts becomes as many parts; the last one has the rest.
void splitAxes(Side& side, const Factors& factors)
{
    Shape axes;
    std::vector<std::int32_t> first;
    for (std::size_t i = 0; i < side.axes.size(); ++i) {
        first.push_back(static_cast<std::int32_t>(axes.size()));
        axes.insert(axes.end(), factors[i].begin(), factors[i].end());
    }
    side.axes = std::move(axes);
    for (auto& parts : side.dimensions) {
        std::vector<SubDimension> split;
        for (const SubDimension& part : parts) {
            if (part.axis == kNoAxis) {
                split.push_back(part);
                continue;
            }
            const Shape& sizes = factors[static_cast<std::size_t>(part.axis)];
            std::uint64_t rest = part.size;
            for (std::size_t i = 0; i + 1 < sizes.size(); ++i) {
                split.push_back({sizes[i], first[static_cast<std::size_t>(part.axis)] + static_cast<std::int32_t>(i)});
                rest /= sizes[i];
            }
            split.push_back({rest, first[static_cast<std::size_t>(part.axis)] + static_cast<std::int32_t>(sizes.size()) - 1});
        }
        parts = std::move(split);
    }
}

// Products of the first 1, 2, … sizes.
Shape runningProducts(const Shape& sizes)
{
    Shape out;
    std::uint64_t product = 1;
    for (const std::uint64_t size : sizes)
        out.push_back(product *= size);
    return out;
}

// The finest factorization whose running products hold both; nothing where a quotient is no integer.
std::optional<Shape> commonFactors(const Shape& a, const Shape& b)
{
    Shape products = runningProducts(a);
    const Shape others = runningProducts(b);
    products.insert(products.end(), others.begin(), others.end());
    std::sort(products.begin(), products.end());
    Shape out;
    std::uint64_t before = 1;
    for (const std::uint64_t product : products) {
        if (product % before != 0)
            return std::nullopt;
        out.push_back(product / before);
        before = product;
    }
    dropOnes(out);
    return out;
}

// `fine` cut into runs whose products are `coarse`, which it refines.
Factors runsOf(const Shape& coarse, const Shape& fine)
{
    Factors out;
    std::size_t at = 0;
    for (const std::uint64_t size : coarse) {
        Shape& run = out.emplace_back();
        for (std::uint64_t product = 1; product < size; ++at) {
            run.push_back(fine[at]);
            product *= fine[at];
        }
    }
    return out;
}

// False where the matrices have no common factorization. `changed` becomes true where one was refined.
bool refineAxes(Side& a, Side& b, bool& changed)
{
    const auto common = commonFactors(a.axes, b.axes);
    if (!common)
        return false;
    for (Side* side : {&a, &b})
        if (side->axes != *common) {
            splitAxes(*side, runsOf(side->axes, *common));
            changed = true;
        }
    return true;
}

// Sizes of a dimension's parts from the right: its running products are those of the row-major order.
Shape sizesFromRight(const std::vector<SubDimension>& parts)
{
    Shape out;
    for (auto part = parts.rbegin(); part != parts.rend(); ++part)
        out.push_back(part->size);
    dropOnes(out);
    return out;
}

// One part into pieces of those sizes. The axis cuts the leading ones; where it is larger than one of them, it falls apart too, as `axisFactors` says then.
bool splitPart(const Side& side, const SubDimension& part, const Shape& sizes, std::vector<SubDimension>& out, Factors& axisFactors)
{
    std::uint64_t axisLeft = part.axis == kNoAxis ? 1 : side.axes[static_cast<std::size_t>(part.axis)];
    Shape factors;
    for (const std::uint64_t size : sizes) {
        const bool isWhole = size % axisLeft == 0;
        if (!isWhole && axisLeft % size != 0)
            return false;
        const std::uint64_t factor = isWhole ? axisLeft : size;
        out.push_back({size, factor == 1 ? kNoAxis : part.axis});
        if (factor != 1)
            factors.push_back(factor);
        axisLeft /= factor;
    }
    if (factors.size() > 1)
        axisFactors[static_cast<std::size_t>(part.axis)] = std::move(factors);
    return axisLeft == 1;
}

// Cuts the parts of one dimension to the common sizes (most significant first). False where an axis does not fit them.
bool splitDimension(const Side& side, std::vector<SubDimension>& parts, const Shape& common, Factors& axisFactors)
{
    std::erase_if(parts, [](const SubDimension& part) { return part.size == 1; });
    Shape coarse;
    for (const SubDimension& part : parts)
        coarse.push_back(part.size);
    const Factors runs = runsOf(coarse, common);
    std::vector<SubDimension> out;
    for (std::size_t i = 0; i < parts.size(); ++i)
        if (!splitPart(side, parts[i], runs[i], out, axisFactors))
            return false;
    parts = std::move(out);
    return true;
}

// The pieces of a part whose axis fell apart are cut by its factors in turn.
void giveFactors(Side& side, const Factors& axisFactors)
{
    Shape axes;
    std::vector<std::int32_t> next;
    for (std::size_t i = 0; i < side.axes.size(); ++i) {
        next.push_back(static_cast<std::int32_t>(axes.size()));
        if (axisFactors[i].empty())
            axes.push_back(side.axes[i]);
        axes.insert(axes.end(), axisFactors[i].begin(), axisFactors[i].end());
    }
    side.axes = std::move(axes);
    for (auto& parts : side.dimensions)
        for (SubDimension& part : parts)
            if (part.axis != kNoAxis)
                part.axis = next[static_cast<std::size_t>(part.axis)]++; // an axis cuts one part, or its factors consecutive ones
}

bool refineDimensions(Side& a, Side& b, bool& changed)
{
    Factors ofA(a.axes.size());
    Factors ofB(b.axes.size());
    for (std::size_t dim = 0; dim < a.dimensions.size(); ++dim) {
        const Shape fromRightA = sizesFromRight(a.dimensions[dim]);
        const Shape fromRightB = sizesFromRight(b.dimensions[dim]);
        if (fromRightA == fromRightB)
            continue;
        auto common = commonFactors(fromRightA, fromRightB);
        if (!common)
            return false;
        std::reverse(common->begin(), common->end());
        changed = true;
        if (!splitDimension(a, a.dimensions[dim], *common, ofA) || !splitDimension(b, b.dimensions[dim], *common, ofB))
            return false;
    }
    giveFactors(a, ofA);
    giveFactors(b, ofB);
    return true;
}

// Until both cut the same parts with the same axes. Every round adds factors, so that it ends.
bool refine(Side& a, Side& b)
{
    for (bool changed = true; changed;) {
        changed = false;
        if (!refineAxes(a, b, changed) || !refineDimensions(a, b, changed))
            return false;
    }
    return true;
}

// The device axes of a layout, with those of an optimizer shard over groups split into groups and members. Axes of size 1 are left out.
struct AxisList {
    Shape sizes;
    std::vector<std::vector<std::int32_t>> places; // of each axis of the device matrix: where it went
    std::vector<std::int32_t> shard;               // those that cut dimension 0 again, most significant first
    bool isShardExact = true;                      // false: the groups are no product of axes
};

// How much of each repeated axis belongs to the optimizer shard: the axes from the right until they make the group.
std::optional<Shape> shardFactors(const ParameterLayout& layout, const std::vector<bool>& isNamed)
{
    Shape out(layout.deviceMatrix.size(), 1);
    std::uint64_t left = optimizerShards(layout);
    for (std::size_t i = out.size(); i-- > 0 && left > 1;) {
        const std::uint64_t size = layout.deviceMatrix[i];
        if (isNamed[i])
            continue;
        if (left % size != 0 && size % left != 0)
            return std::nullopt;
        out[i] = std::min(left, size);
        left /= out[i];
    }
    return left == 1 ? std::optional(out) : std::nullopt;
}

// The device matrix that MindSpore's transform makes of an optimizer-sharded layout with a flat map. One repeated axis before all others: the others in the
// order of the dimensions that they cut, even where the tensor map names them in another (§5.9: then its values are wrong; the list of ranks is what it is).
// Nothing cut: the ranks are one axis, so that [3, 2] and [2, 3] are alike.
ParameterLayout asSharded(const ParameterLayout& layout)
{
    if (layout.isMultiAxis || optimizerShards(layout) == 1)
        return layout;
    ParameterLayout out = layout;
    const Shape cuts = cutsOf(layout);
    const std::uint64_t cut = std::accumulate(cuts.begin(), cuts.end(), std::uint64_t{1}, std::multiplies<>());
    const std::uint64_t repeated = deviceCount(layout) / cut;
    const auto first = static_cast<std::uint32_t>(layout.deviceMatrix.size() - 1); // counted from the right
    const bool isFirstNamed = std::any_of(layout.tensorMap.begin(), layout.tensorMap.end(), [&](const auto& axes) { return axes == std::vector{first}; });
    if (cut != 1 && (isFirstNamed || layout.deviceMatrix.front() != repeated))
        return layout;
    out.deviceMatrix = {repeated};
    for (std::size_t dim = 0; dim < cuts.size(); ++dim)
        if (cuts[dim] > 1)
            out.deviceMatrix.push_back(cuts[dim]);
    auto axis = static_cast<std::uint32_t>(out.deviceMatrix.size() - 1);
    for (std::size_t dim = 0; dim < cuts.size(); ++dim) {
        out.tensorMap[dim].clear();
        if (cuts[dim] > 1)
            out.tensorMap[dim].push_back(--axis);
    }
    return out;
}

AxisList axesOf(const ParameterLayout& layout, std::uint64_t devices)
{
    AxisList out;
    const std::size_t count = layout.deviceMatrix.size();
    std::vector<bool> isNamed(count, false);
    for (const auto& axes : layout.tensorMap)
        for (const std::uint32_t axis : axes)
            isNamed[count - 1 - axis] = true;
    const auto shard = shardFactors(layout, isNamed);
    out.isShardExact = shard.has_value();
    if (const std::uint64_t own = deviceCount(layout); own < devices)
        out.sizes.push_back(devices / own);
    for (std::size_t i = 0; i < count; ++i) {
        const std::uint64_t member = shard ? (*shard)[i] : isNamed[i] ? 1 : layout.deviceMatrix[i];
        auto& places = out.places.emplace_back();
        for (const std::uint64_t size : {layout.deviceMatrix[i] / member, member}) {
            if (size == 1)
                continue;
            places.push_back(static_cast<std::int32_t>(out.sizes.size()));
            out.sizes.push_back(size);
        }
        if (member > 1)
            out.shard.push_back(places.back());
    }
    return out;
}

// The tensor of fictitious sizes: every slice of the source has `devices` along each dimension (§5.3).
Side sideOf(const ParameterLayout& layout, const AxisList& axes, const Shape& sizes)
{
    Side out{axes.sizes, {}};
    const std::size_t count = layout.deviceMatrix.size();
    for (std::size_t dim = 0; dim < layout.tensorMap.size(); ++dim) {
        std::vector<std::int32_t> cutting;
        for (const std::uint32_t axis : layout.tensorMap[dim])
            for (const std::int32_t place : axes.places[count - 1 - axis])
                cutting.push_back(place);
        if (dim == 0)
            cutting.insert(cutting.end(), axes.shard.begin(), axes.shard.end());
        auto& parts = out.dimensions.emplace_back();
        std::uint64_t rest = sizes[dim];
        for (std::size_t i = 0; i < cutting.size(); ++i) {
            const std::uint64_t axis = out.axes[static_cast<std::size_t>(cutting[i])];
            parts.push_back({i + 1 < cutting.size() ? axis : rest, cutting[i]});
            rest /= axis;
        }
        if (cutting.empty())
            parts.push_back({rest, kNoAxis});
    }
    return out;
}

NeededRanks::Gather gatherAllCut(const Side& source)
{
    NeededRanks::Gather out{source.axes, std::vector<bool>(source.axes.size(), false)};
    for (const auto& parts : source.dimensions)
        for (const SubDimension& part : parts)
            if (part.axis != kNoAxis)
                out.isGathered[static_cast<std::size_t>(part.axis)] = true;
    return out;
}

// Both refined: the same axes, the same parts.
NeededRanks::Gather gatherDifferent(const Side& source, const Side& target)
{
    NeededRanks::Gather out{source.axes, std::vector<bool>(source.axes.size(), false)};
    const auto withoutOnes = [](std::vector<SubDimension> parts) {
        std::erase_if(parts, [](const SubDimension& part) { return part.size == 1; });
        return parts;
    };
    for (std::size_t dim = 0; dim < source.dimensions.size(); ++dim) {
        const auto from = withoutOnes(source.dimensions[dim]);
        const auto to = withoutOnes(target.dimensions[dim]);
        for (std::size_t i = 0; i < from.size(); ++i)
            if (from[i].axis != kNoAxis && from[i].axis != to[i].axis)
                out.isGathered[static_cast<std::size_t>(from[i].axis)] = true;
    }
    return out;
}

} // namespace

NeededRanks::Gather gatherOf(const ParameterLayout& source, const ParameterLayout* target)
{
    const std::uint64_t devices = std::max(deviceCount(source), target == nullptr ? 1 : deviceCount(*target));
    Shape sizes = cutsOf(source);
    for (std::size_t dim = 0; dim < sizes.size(); ++dim)
        sizes[dim] *= devices * (dim == 0 ? optimizerShards(source) : 1);
    const ParameterLayout modelled = asSharded(source);
    const AxisList sourceAxes = axesOf(modelled, devices);
    const Side from = sideOf(modelled, sourceAxes, sizes);
    if (target == nullptr)
        return gatherAllCut(from);
    const ParameterLayout modelledTarget = asSharded(*target);
    const AxisList targetAxes = axesOf(modelledTarget, devices);
    Side a = from;
    Side b = sideOf(modelledTarget, targetAxes, sizes);
    if (!sourceAxes.isShardExact || !targetAxes.isShardExact || !refine(a, b))
        return gatherAllCut(from);
    return gatherDifferent(a, b);
}

} // namespace shardlens::mindspore
