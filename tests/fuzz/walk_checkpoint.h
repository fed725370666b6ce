#pragma once

#include "core/model/checkpoint.h"

namespace shardlens::fuzz {

// What a window or a conversion does with a checkpoint: coverage, holes as text, and the values at both ends and in the middle of every tensor.
// Failures are fine; a crash or an endless loop is not.
void walkCheckpoint(const CheckpointPtr& checkpoint);

} // namespace shardlens::fuzz
