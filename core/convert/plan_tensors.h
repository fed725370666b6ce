#pragma once

#include "core/base/result.h"
#include "core/convert/plan.h"
#include "core/convert/stored_reads.h"
#include "core/layout/selection.h"

#include <string>
#include <vector>

namespace shardlens {

// A tensor of the output before it has a place in a file.
struct OutputTensor {
    std::string name;
    TensorId source{};
    DType dtype{};
    std::uint64_t sizeBytes = 0;
    std::uint64_t readBytes = 0; // that reading it moves, gaps between strided cells included; 0 where it is computed (OutputTensors::reads)
    bool isAlias = false;        // another name of the tensor before it
};

struct OutputTensors {
    std::vector<OutputTensor> tensors; // in model order
    StoredReads reads;
};

// Adds the patterns of an option. Refused, with option and pattern, where one does not compile.
[[nodiscard]] Status compilePatterns(const std::vector<std::string>& patterns, const char* option, std::vector<Regex>& into);
// What a request selects. Refused, with the pattern, where one does not compile.
[[nodiscard]] Result<SelectionOptions> selectionOf(const ConvertRequest& request);
// The selected tensors with their output dtypes. Refused: patterns that do not compile, nothing selected, a hole, a cast that there is not.
[[nodiscard]] Result<OutputTensors> planTensors(const CheckpointPtr& source, const ConvertRequest& request, JobContext& job);

} // namespace shardlens
