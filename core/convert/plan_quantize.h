#pragma once

#include "core/convert/plan.h"
#include "core/convert/plan_checks.h"

#include <string>
#include <string_view>

namespace shardlens {

constexpr std::string_view kSdloaderInt8 = "sdloader-int8"; // made by the layout itself, of rank files

// What becomes of a plan whose request asks for quantized weights, or for the values of such: the source in which they are, lines, and config.json.
struct QuantizePlan {
    CheckpointPtr source;
    std::vector<PlanLine> lines;
    std::vector<LossyTensor> lossy;
    std::shared_ptr<const QuantEngine> engine; // where weights are quantized on a device
    std::string config; // text of config.json that belongs beside the weights; empty: none
};

// Refused: an unknown scheme, with those that there are; options that mean nothing without one; schemes of several libraries at once; a target or a selection that
// holds no quantized weights; what chooseWeights() refuses.
[[nodiscard]] Result<QuantizePlan> planQuantization(const CheckpointPtr& source, const ConvertRequest& request, const OutputChoice& choice, JobContext& job);

} // namespace shardlens
