#pragma once

#include "core/convert/plan_checks.h"
#include "core/convert/plan_tensors.h"

#include <vector>

namespace shardlens {

// What a conversion changes, keeps and leaves behind, for people; deterministic, most important first.
[[nodiscard]] std::vector<PlanLine> planLines(const Checkpoint& source, const ConvertRequest& request, const OutputTensors& selected, OutputKind kind);

} // namespace shardlens
