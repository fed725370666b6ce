#pragma once

#include "core/layout/mindspore_strategy.h"
#include "core/layout/strategy_ranks.h"

#include <cstdint>

namespace shardlens::mindspore {

// What a rank of the target needs of a tensor that lies by `source` (formats/mindspore.md §5.3): both layouts are brought into one device space of
// max(n1, n2) devices and refined until they cut the same dimensions; an axis is gathered where the source cuts a dimension with it that the target does not cut
// with it. Where they have no common refinement, all axes that the source cuts are gathered. nullptr: the whole tensor on one device.
// Preconditions: one device count divides the other, the maps have equally many dimensions.
[[nodiscard]] NeededRanks::Gather gatherOf(const ParameterLayout& source, const ParameterLayout* target);

} // namespace shardlens::mindspore
