#pragma once

#include "core/base/result.h"
#include "core/layout/mindspore_strategy.h"
#include "core/model/region.h"

#include <cstdint>
#include <vector>

// Which slice a rank holds (formats/mindspore.md §4). Ranks are local: inside their stage, 0 to deviceCount()-1. Layouts must be those of a Strategy.
namespace shardlens::mindspore {

[[nodiscard]] std::uint64_t deviceCount(const ParameterLayout& layout);
// S of §4.3: over how many ranks the optimizer shard cuts dimension 0 again; 1 where it does not.
[[nodiscard]] std::uint64_t optimizerShards(const ParameterLayout& layout);
// Into how many pieces each dimension of the map is cut by the model-parallel axes; without the optimizer shard.
[[nodiscard]] Shape cutsOf(const ParameterLayout& layout);
// Distinct slices: the product of cuts, times optimizerShards(). Each is held by deviceCount() / sliceCount() ranks.
[[nodiscard]] std::uint64_t sliceCount(const ParameterLayout& layout);
// The number of a rank's slice, 0 to sliceCount()-1: row-major over the cuts, the optimizer shard last. Ranks of one number hold the same bytes.
[[nodiscard]] std::uint64_t sliceOf(const ParameterLayout& layout, std::uint64_t localRank);
// The ranks that hold the same slice as that one (§4.6), ascending, itself among them.
[[nodiscard]] std::vector<std::uint64_t> ranksWithSameSlice(const ParameterLayout& layout, std::uint64_t localRank);
// One rank of every distinct slice, the lowest, in the order of sliceOf().
[[nodiscard]] std::vector<std::uint64_t> firstRanks(const ParameterLayout& layout);

// What `localRank` holds of a tensor of shape `full`; honours uneven row counts (§4.5). Refused, as fragments without the parameter's name: another number of
// dimensions, a dimension that does not divide (with the counts that would), a row count that does not fit, a field split (its slices are no boxes).
[[nodiscard]] Result<Box> boxOf(const ParameterLayout& layout, ShapeView full, std::uint64_t localRank);
// All that boxOf() may refuse for any rank, once.
[[nodiscard]] Status checkDivides(const ParameterLayout& layout, ShapeView full);
// The whole tensor's shape from that of a slice (§4.4). Refused: another number of dimensions, overflow, a row count that no slice has, a field split.
[[nodiscard]] Result<Shape> fullShapeOf(const ParameterLayout& layout, ShapeView slice);

// "dimension 0 over 4, optimizer shard over 2", "not cut": for people.
[[nodiscard]] std::string layoutText(const ParameterLayout& layout);

} // namespace shardlens::mindspore
