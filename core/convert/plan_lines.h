#pragma once

#include "core/convert/plan_checks.h"
#include "core/convert/plan_tensors.h"

#include <string>
#include <vector>

namespace shardlens {

// What a conversion changes, keeps and leaves behind, for people; deterministic, most important first.
[[nodiscard]] std::vector<PlanLine> planLines(const Checkpoint& source, const ConvertRequest& request, const OutputTensors& selected, OutputKind kind);

// Files beside the weights that a loader may want (config.json, tokenizers): only tensors are converted. `written`: of the result, which may have one of them.
void addOtherFiles(const Checkpoint& source, const std::vector<PlannedFile>& written, std::vector<PlanLine>& lines);

// "a, b and 3 more": printable; of many names the first few.
[[nodiscard]] std::string listed(const std::vector<std::string>& names);

} // namespace shardlens
