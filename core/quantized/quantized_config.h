#pragma once

#include "core/quantized/quantize_choice.h"

#include <string>

namespace shardlens {

// config.json for what a choice makes (formats/quantization.md §4.8, §5.1): `source` is the text of the source's, or empty where there is none. Members keep their
// order; quantization_config comes last. Corrupt where the source's is no JSON object.
[[nodiscard]] Result<std::string> quantizedConfigText(const QuantizeChoice& choice, const QuantizeOptions& options, std::string_view source);
// config.json for weights that are quantized no more: without quantization_config.
[[nodiscard]] Result<std::string> plainConfigText(std::string_view source, std::optional<DType> dtype);
// The text of config.json in the folder that a checkpoint lies in; nothing where there is none.
[[nodiscard]] Result<std::optional<std::string>> readConfigText(const Checkpoint& checkpoint);

} // namespace shardlens
