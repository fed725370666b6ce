#pragma once

#include "core/format/megatron/rank_set.h"

namespace shardlens::megatron {

// The tensors of a rank with the rows of fused query, key and value matrices in the order of checkpoint version 2, [head, part, element], whatever the
// version (formats/megatron.md §5.4). Applied before ranks are joined. Refused: versions that are not known, chunks of a virtual pipeline, rows that the
// heads do not divide; a state of an optimizer with such rows is a lost tensor of the rank. The rank's entries then name the ordered tensors.
[[nodiscard]] Result<CheckpointPtr> inHeadOrder(RankSet& set, Rank& rank);

} // namespace shardlens::megatron
