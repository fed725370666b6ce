#pragma once

#include "core/format/sdloader/rank_set.h"

namespace shardlens::sdloader {

// Whether the file holds INT8 weights of MegatronSDLoader, with their scales beside the module.
[[nodiscard]] bool isQuantized(const RankSet::Rank& rank);

// Puts values (F32: code · scale) in the place of the INT8 weights of each rank of the set; reads the tables of scales. Refused: files without quantization_layout,
// for their scales alone do not say which values are theirs; a rank that is missing where scales of a file lie on several. Corrupt: scales that do not fit a weight.
[[nodiscard]] Status dequantizeRanks(RankSet& set, JobContext& job);

} // namespace shardlens::sdloader
