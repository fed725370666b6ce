#pragma once

#include "core/base/result.h"
#include "core/convert/plan.h"
#include "core/convert/plan_tensors.h"

namespace shardlens {

// Fills in metadataBytes, blockBytes and peakBufferBytes of a plan whose request and files are complete.
// Refused where the limit is too small, with the least that works.
[[nodiscard]] Status planMemory(Plan& plan);

} // namespace shardlens
