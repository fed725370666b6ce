#pragma once

#include "core/base/result.h"
#include "core/convert/plan.h"
#include "core/convert/plan_checks.h"

#include <string>
#include <vector>

// Sources whose weights are stored quantized: they stay so, or their values are taken.
namespace shardlens {

constexpr const char* kNoConfigInFile = "One file holds no config.json: loaders need its quantization_config. A folder as target has it.";

// The config.json that belongs beside the weights: the source's own where they stay quantized, the same without quantization_config where they are dequantized. Empty:
// none is written.
[[nodiscard]] Result<std::string> ownConfig(const CheckpointPtr& source, const ConvertRequest& request, const OutputChoice& choice, std::vector<PlanLine>& lines);

// What becomes of them. Refused: codes whose scales the patterns leave out, or that the target has no place for beside the model.
[[nodiscard]] Status addStoredLines(Plan& plan);

} // namespace shardlens
