#include "core/base/checked.h"
#include "core/base/text.h"
#include "core/layout/strategy_boxes.h"
#include "core/layout/strategy_text.h"

#include <fmt/format.h>

#include <algorithm>

namespace shardlens::mindspore {
namespace {

constexpr std::uint64_t kMostStageDevices = 1u << 20;

Status checkMatrix(const Shape& matrix)
{
    if (matrix.empty())
        return Error{ErrorCode::Corrupt, "its device matrix is empty"};
    if (matrix.size() > kMostStrategyDimensions)
        return Error{ErrorCode::LimitExceeded, fmt::format("its device matrix has {} axes, at most {} are read", matrix.size(), kMostStrategyDimensions)};
    if (std::find(matrix.begin(), matrix.end(), 0u) != matrix.end())
        return Error{ErrorCode::Corrupt, fmt::format("its device matrix {} has an axis of size 0", shapeText(matrix))};
    const auto devices = checkedProduct(matrix);
    if (!devices || *devices > kMostStageDevices)
        return Error{ErrorCode::LimitExceeded, fmt::format("its device matrix {} is of more than {} devices", shapeText(matrix), groupedText(kMostStageDevices))};
    return {};
}

Status checkMap(const ParameterLayout& layout)
{
    const std::size_t axes = layout.deviceMatrix.size();
    std::vector<bool> isNamed(axes, false);
    for (std::size_t dim = 0; dim < layout.tensorMap.size(); ++dim)
        for (const std::uint32_t axis : layout.tensorMap[dim]) {
            if (axis >= axes)
                return Error{ErrorCode::Corrupt, fmt::format("its dimension {} is cut by axis {}, and the device matrix {} has axes 0 to {}",
                                                             dim, axis, shapeText(layout.deviceMatrix), axes - 1)};
            if (isNamed[axis])
                return Error{ErrorCode::Corrupt, fmt::format("its tensor map names axis {} twice", axis)};
            isNamed[axis] = true;
        }
    return {};
}

Status checkOptimizerShard(const ParameterLayout& layout)
{
    const std::int64_t size = layout.optShardSize;
    if (size < -1)
        return Error{ErrorCode::Corrupt, fmt::format("an optimizer shard of size {}", size)};
    if (layout.optShardStep == 0 || size <= 0)
        return {};
    const Shape cuts = cutsOf(layout);
    const std::uint64_t repeated = deviceCount(layout) / checkedProduct(cuts).value_or(1);
    if (repeated % static_cast<std::uint64_t>(size) != 0)
        return Error{ErrorCode::Corrupt, fmt::format("its optimizer shard is over groups of {}, into which the {} that {} a slice are not divisible",
                                                     size, plural(repeated, "rank", "ranks"), repeated == 1 ? "holds" : "hold")};
    return {};
}

// One row count a slice; slices that lie side by side have equally many rows.
Status checkUnevenRows(const ParameterLayout& layout)
{
    const std::vector<std::int64_t>& rows = layout.paramSplitShape;
    if (rows.empty())
        return {};
    const Shape cuts = cutsOf(layout);
    const std::uint64_t slices = checkedProduct(cuts).value_or(0);
    if (cuts.empty() || rows.size() != slices)
        return Error{ErrorCode::Corrupt, fmt::format("its param_split_shape has {} for {}",
                                                     plural(rows.size(), "row count", "row counts"), plural(cuts.empty() ? 0 : slices, "slice", "slices"))};
    const std::size_t beside = rows.size() / static_cast<std::size_t>(cuts.front());
    std::uint64_t sum = 0;
    for (std::size_t i = 0; i < rows.size(); ++i) {
        if (rows[i] < 0)
            return Error{ErrorCode::Corrupt, fmt::format("its param_split_shape has a row count of {}", rows[i])};
        if (rows[i] != rows[i - i % beside])
            return Error{ErrorCode::Corrupt, fmt::format("its slices {} and {} lie side by side, with {} and {} rows",
                                                         i - i % beside, i, rows[i - i % beside], rows[i])};
        const auto more = checkedAdd(sum, static_cast<std::uint64_t>(rows[i]));
        if (!more)
            return Error{ErrorCode::Corrupt, "its row counts overflow"};
        sum = *more;
    }
    return {};
}

} // namespace

Result<std::vector<std::vector<std::uint32_t>>> axesOfMap(const std::vector<std::vector<std::int64_t>>& dimensions)
{
    if (dimensions.size() > kMostStrategyDimensions)
        return Error{ErrorCode::LimitExceeded, fmt::format("more than {} dimensions", kMostStrategyDimensions)};
    std::vector<std::vector<std::uint32_t>> out;
    for (const std::vector<std::int64_t>& axes : dimensions) {
        std::vector<std::uint32_t>& dimension = out.emplace_back();
        if (axes.size() == 1 && axes.front() == -1)
            continue;
        for (const std::int64_t axis : axes) {
            if (axis < 0 || axis > std::int64_t{0x7fffffff})
                return Error{ErrorCode::Corrupt, fmt::format("its tensor map names axis {}", axis)};
            dimension.push_back(static_cast<std::uint32_t>(axis));
        }
    }
    return out;
}

Status checkStrategyName(std::string_view name)
{
    constexpr std::size_t kLongestName = 4096;
    if (name.size() > kLongestName)
        return Error{ErrorCode::LimitExceeded, fmt::format("a name of {} B, at most {} B are read", groupedText(name.size()), kLongestName)};
    if (!isUtf8(name))
        return Error{ErrorCode::Corrupt, fmt::format("the name {} is no UTF-8", printable(name))};
    return {};
}

Status checkLayout(const ParameterLayout& layout)
{
    SHARDLENS_TRY(checkMatrix(layout.deviceMatrix));
    SHARDLENS_TRY(checkMap(layout));
    SHARDLENS_TRY(checkOptimizerShard(layout));
    return checkUnevenRows(layout);
}

} // namespace shardlens::mindspore
