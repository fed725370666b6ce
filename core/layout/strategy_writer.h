#pragma once

#include "core/base/result.h"
#include "core/layout/mindspore_strategy.h"

#include <string>
#include <string_view>

namespace shardlens::mindspore {

// The bytes of a strategy file as MindSpore writes it (formats/mindspore.md §3.1, §11): items in order, names prefixed by their stage where merged.
[[nodiscard]] std::string strategyProtobuf(const Strategy& strategy);
// §3.4. Refused: a multi-axis layout, which JSON cannot hold. Operators of one name in several stages are one entry, the last, as MindSpore writes it.
// Parameters whose full shape is not known lack `tensor_shape`, which only MindSpore's compiler wants.
[[nodiscard]] Result<std::string> strategyJson(const Strategy& strategy);
// The one of the two that a file of that name must hold: JSON where it ends in .json.
[[nodiscard]] Result<std::string> strategyBytesFor(const Strategy& strategy, std::string_view fileName);

} // namespace shardlens::mindspore
