#pragma once

#include "core/base/result.h"
#include "core/convert/plan_tensors.h"
#include "core/convert/request.h"
#include "core/model/checkpoint.h"

namespace shardlens {

// What is written, once every default is filled in.
enum class OutputKind : std::uint8_t { Safetensors, Torch, Dcp, Layout }; // Layout: a family's own (Format::layOut)
[[nodiscard]] const char* formatIdOf(OutputKind kind); // empty for a layout

struct OutputChoice {
    OutputKind kind = OutputKind::Safetensors;
    bool isFile = false;
    std::string formatId;
    Select select = Select::Weights;
};

// From --to, the target's name and the source's format. Refused for what this version does not write, and where name and format contradict each other.
[[nodiscard]] Result<OutputChoice> chooseOutput(const Checkpoint& source, const ConvertRequest& request);
// Refused where the source has an error that the selected tensors cannot be told apart from: a missing or damaged file, an index that is wrong.
[[nodiscard]] Status checkFindings(const Checkpoint& source, const OutputTensors& selected, const SelectionOptions& options);
// Refused, by name, for a dtype that the output has no name for, and for parts of sparse tensors.
[[nodiscard]] Status checkDTypes(const Checkpoint& source, const OutputTensors& selected, OutputKind kind);

} // namespace shardlens
