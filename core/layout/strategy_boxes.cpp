// formats/mindspore.md §4. Everything is index arithmetic over the device matrix; the optimizer shard goes by the definition of §4.3, never by the stored step.
#include "core/layout/strategy_boxes.h"

#include "core/base/checked.h"
#include "core/base/text.h"

#include <fmt/format.h>

#include <algorithm>
#include <functional>
#include <numeric>

namespace shardlens::mindspore {
namespace {

bool isOptimizerSharded(const ParameterLayout& layout)
{
    return layout.optShardStep != 0 && layout.optShardSize != 0;
}

// Position in D of an axis that is counted from the right.
std::size_t axisOf(const ParameterLayout& layout, std::uint32_t fromRight)
{
    return layout.deviceMatrix.size() - 1 - fromRight;
}

std::vector<bool> namedAxes(const ParameterLayout& layout)
{
    std::vector<bool> out(layout.deviceMatrix.size(), false);
    for (const auto& axes : layout.tensorMap)
        for (const std::uint32_t axis : axes)
            out[axisOf(layout, axis)] = true;
    return out;
}

std::uint64_t repeatedRanks(const ParameterLayout& layout)
{
    std::uint64_t out = deviceCount(layout);
    for (const std::uint64_t cut : cutsOf(layout))
        out /= cut;
    return out;
}

// Where a rank stands: the index of its slice along each dimension, and its position among the ranks that repeat it.
struct Standing {
    Shape index;
    std::uint64_t repeat = 0;
};

Standing standingOf(const ParameterLayout& layout, std::uint64_t localRank)
{
    const Shape coordinates = indexAt(localRank, layout.deviceMatrix);
    Standing out;
    for (const auto& axes : layout.tensorMap) {
        std::uint64_t index = 0;
        for (const std::uint32_t axis : axes)
            index = index * layout.deviceMatrix[axisOf(layout, axis)] + coordinates[axisOf(layout, axis)];
        out.index.push_back(index);
    }
    const std::vector<bool> isNamed = namedAxes(layout);
    for (std::size_t i = 0; i < coordinates.size(); ++i)
        if (!isNamed[i])
            out.repeat = out.repeat * layout.deviceMatrix[i] + coordinates[i];
    return out;
}

// The rank that stands there: the inverse of standingOf().
std::uint64_t rankAt(const ParameterLayout& layout, const Standing& standing)
{
    Shape coordinates(layout.deviceMatrix.size(), 0);
    for (std::size_t dim = 0; dim < layout.tensorMap.size(); ++dim) {
        std::uint64_t index = standing.index[dim];
        for (std::size_t i = layout.tensorMap[dim].size(); i-- > 0;) {
            const std::size_t axis = axisOf(layout, layout.tensorMap[dim][i]);
            coordinates[axis] = index % layout.deviceMatrix[axis];
            index /= layout.deviceMatrix[axis];
        }
    }
    const std::vector<bool> isNamed = namedAxes(layout);
    std::uint64_t repeat = standing.repeat;
    for (std::size_t i = coordinates.size(); i-- > 0;)
        if (!isNamed[i]) {
            coordinates[i] = repeat % layout.deviceMatrix[i];
            repeat /= layout.deviceMatrix[i];
        }
    std::uint64_t rank = 0;
    for (std::size_t i = 0; i < coordinates.size(); ++i)
        rank = rank * layout.deviceMatrix[i] + coordinates[i];
    return rank;
}

// Counts up to a device count of people's size that divide `extent`: "1, 2, 4".
std::string divisorsText(std::uint64_t extent)
{
    constexpr std::uint64_t kLargest = 4096;
    constexpr std::size_t kSaid = 12;
    std::string out;
    std::size_t found = 0;
    for (std::uint64_t count = 1; count <= std::min(extent, kLargest); ++count) {
        if (extent % count != 0)
            continue;
        if (++found > kSaid)
            return out + " …";
        out += (out.empty() ? "" : ", ") + std::to_string(count);
    }
    return out;
}

Status checkBoxes(const ParameterLayout& layout, std::size_t dimensions)
{
    if (layout.field > 0)
        return Error{ErrorCode::Unsupported, fmt::format("its rows are interleaved by fields (field {}): a rank's slice is no box of the tensor", layout.field)};
    if (layout.tensorMap.size() != dimensions) {
        const bool isFlattened = layout.isFromJson && layout.tensorMap.size() > dimensions;
        return Error{ErrorCode::Refused, fmt::format("its layout is of {}, and the tensor has {}{}",
                                                     plural(layout.tensorMap.size(), "dimension", "dimensions"), dimensions,
                                                     isFlattened ? ": a multi-axis layout, which JSON loses; use the protobuf strategy" : "")};
    }
    if (isOptimizerSharded(layout) && dimensions == 0 && optimizerShards(layout) > 1)
        return Error{ErrorCode::Refused, fmt::format("its layout has an optimizer shard over {} ranks, and the tensor has no dimension to cut",
                                                     optimizerShards(layout))};
    return {};
}

Status checkRowCounts(const ParameterLayout& layout, std::uint64_t rows)
{
    const std::vector<std::int64_t>& counts = layout.paramSplitShape;
    const std::uint64_t beside = counts.size() / cutsOf(layout).front();
    const std::uint64_t shards = optimizerShards(layout);
    std::uint64_t sum = 0;
    for (std::size_t i = 0; i < counts.size(); i += beside) {
        const auto count = static_cast<std::uint64_t>(counts[i]);
        sum += count; // checked when the layout was
        if (count % shards != 0)
            return Error{ErrorCode::Refused, fmt::format("the {} rows of its slice {} are not divisible by the optimizer shard over {}; divisors: {}",
                                                         count, i, shards, divisorsText(count))};
    }
    if (sum != rows)
        return Error{ErrorCode::Refused, fmt::format("the row counts of its slices make {}, and dimension 0 is {}", sum, rows)};
    return {};
}

// Rows of dimension 0 where the counts differ: where the index-th run begins and how long it is.
FlatRange unevenRows(const ParameterLayout& layout, std::uint64_t index)
{
    const std::size_t beside = layout.paramSplitShape.size() / static_cast<std::size_t>(cutsOf(layout).front());
    FlatRange out;
    for (std::uint64_t i = 0; i <= index; ++i) {
        out.begin = out.end;
        out.end += static_cast<std::uint64_t>(layout.paramSplitShape[static_cast<std::size_t>(i) * beside]);
    }
    return out;
}

} // namespace

std::uint64_t deviceCount(const ParameterLayout& layout)
{
    return std::accumulate(layout.deviceMatrix.begin(), layout.deviceMatrix.end(), std::uint64_t{1}, std::multiplies<>());
}

Shape cutsOf(const ParameterLayout& layout)
{
    Shape out;
    for (const auto& axes : layout.tensorMap) {
        std::uint64_t cut = 1;
        for (const std::uint32_t axis : axes)
            cut *= layout.deviceMatrix[axisOf(layout, axis)];
        out.push_back(cut);
    }
    return out;
}

std::uint64_t optimizerShards(const ParameterLayout& layout)
{
    if (!isOptimizerSharded(layout))
        return 1;
    return layout.optShardSize == -1 ? repeatedRanks(layout) : static_cast<std::uint64_t>(layout.optShardSize);
}

std::uint64_t sliceCount(const ParameterLayout& layout)
{
    return deviceCount(layout) / repeatedRanks(layout) * optimizerShards(layout);
}

std::uint64_t sliceOf(const ParameterLayout& layout, std::uint64_t localRank)
{
    const Standing standing = standingOf(layout, localRank);
    const Shape cuts = cutsOf(layout);
    std::uint64_t slice = 0;
    for (std::size_t dim = 0; dim < cuts.size(); ++dim)
        slice = slice * cuts[dim] + standing.index[dim];
    const std::uint64_t shards = optimizerShards(layout);
    return slice * shards + standing.repeat % shards;
}

std::vector<std::uint64_t> ranksWithSameSlice(const ParameterLayout& layout, std::uint64_t localRank)
{
    Standing standing = standingOf(layout, localRank);
    const std::uint64_t shards = optimizerShards(layout);
    const std::uint64_t repeated = repeatedRanks(layout);
    std::vector<std::uint64_t> out;
    out.reserve(static_cast<std::size_t>(repeated / shards));
    for (standing.repeat %= shards; standing.repeat < repeated; standing.repeat += shards)
        out.push_back(rankAt(layout, standing));
    return out;
}

std::vector<std::uint64_t> firstRanks(const ParameterLayout& layout)
{
    const Shape cuts = cutsOf(layout);
    const std::uint64_t shards = optimizerShards(layout);
    const std::uint64_t slices = sliceCount(layout);
    std::vector<std::uint64_t> out;
    out.reserve(static_cast<std::size_t>(slices));
    for (std::uint64_t slice = 0; slice < slices; ++slice)
        out.push_back(rankAt(layout, {indexAt(slice / shards, cuts), slice % shards}));
    return out;
}

Status checkDivides(const ParameterLayout& layout, ShapeView full)
{
    SHARDLENS_TRY(checkBoxes(layout, full.size()));
    const Shape cuts = cutsOf(layout);
    for (std::size_t dim = 0; dim < full.size(); ++dim) {
        if (dim == 0 && !layout.paramSplitShape.empty()) {
            SHARDLENS_TRY(checkRowCounts(layout, full[0]));
            continue;
        }
        const std::uint64_t shards = dim == 0 ? optimizerShards(layout) : 1;
        const std::uint64_t pieces = cuts[dim] * shards;
        if (full[dim] % pieces != 0)
            return Error{ErrorCode::Refused, fmt::format("dimension {} is {} and not divisible by {}{}; it can be cut into {}", dim, full[dim], pieces,
                                                         shards > 1 ? fmt::format(" ({} by the device matrix, {} by the optimizer shard)",
                                                                                  cuts[dim], shards) : "", divisorsText(full[dim]))};
    }
    return {};
}

Result<Box> boxOf(const ParameterLayout& layout, ShapeView full, std::uint64_t localRank)
{
    if (localRank >= deviceCount(layout))
        return Error{ErrorCode::Refused, fmt::format("rank {} of {} in its stage", localRank, plural(deviceCount(layout), "device", "devices"))};
    SHARDLENS_TRY(checkDivides(layout, full));
    const Standing standing = standingOf(layout, localRank);
    const Shape cuts = cutsOf(layout);
    Box out{Shape(full.size(), 0), Shape(full.begin(), full.end())};
    for (std::size_t dim = 0; dim < full.size(); ++dim) {
        if (dim == 0 && !layout.paramSplitShape.empty()) {
            const FlatRange rows = unevenRows(layout, standing.index[0]);
            out.offset[0] = rows.begin;
            out.extent[0] = rows.size();
            continue;
        }
        out.extent[dim] = full[dim] / cuts[dim];
        out.offset[dim] = standing.index[dim] * out.extent[dim];
    }
    if (const std::uint64_t shards = optimizerShards(layout); shards > 1) {
        out.extent[0] /= shards;
        out.offset[0] += standing.repeat % shards * out.extent[0];
    }
    return out;
}

Result<Shape> fullShapeOf(const ParameterLayout& layout, ShapeView slice)
{
    SHARDLENS_TRY(checkBoxes(layout, slice.size()));
    Shape out(slice.begin(), slice.end());
    const Shape cuts = cutsOf(layout);
    for (std::size_t dim = 0; dim < out.size(); ++dim) {
        const std::uint64_t shards = dim == 0 ? optimizerShards(layout) : 1;
        const auto whole = checkedMul(slice[dim], cuts[dim] * shards);
        if (!whole)
            return Error{ErrorCode::Corrupt, fmt::format("{} slices of {} along dimension {} overflow", cuts[dim] * shards, slice[dim], dim)};
        out[dim] = *whole;
    }
    if (layout.paramSplitShape.empty())
        return out;
    const std::uint64_t shards = optimizerShards(layout);
    const auto rows = checkedMul(slice[0], shards);
    const bool isKnown = std::any_of(layout.paramSplitShape.begin(), layout.paramSplitShape.end(), [&](std::int64_t count) { return rows == static_cast<std::uint64_t>(count); });
    if (!isKnown)
        return Error{ErrorCode::Refused, fmt::format("its slice has {} rows, which none of its row counts is", slice[0] * shards)};
    out[0] = unevenRows(layout, cuts[0] - 1).end;
    return out;
}

std::string layoutText(const ParameterLayout& layout)
{
    std::string out;
    const Shape cuts = cutsOf(layout);
    for (std::size_t dim = 0; dim < cuts.size(); ++dim)
        if (cuts[dim] > 1)
            out += fmt::format("{}dimension {} over {}", out.empty() ? "" : ", ", dim, cuts[dim]);
    if (!layout.paramSplitShape.empty())
        out += out.empty() ? "rows by count" : ", rows by count";
    if (const std::uint64_t shards = optimizerShards(layout); shards > 1)
        out += fmt::format("{}optimizer shard over {}", out.empty() ? "" : ", ", shards);
    if (layout.field > 0)
        out += fmt::format("{}interleaved by field {}", out.empty() ? "" : ", ", layout.field);
    return out.empty() ? "not cut" : out;
}

} // namespace shardlens::mindspore
