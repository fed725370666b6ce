#pragma once

#include "app/cli/console.h"
#include "core/base/result.h"
#include "core/model/checkpoint.h"

#include <nlohmann/json.hpp>

namespace shardlens::cli {

// Members keep the order in which they are added. For objects with few members; look-up is linear.
using Json = nlohmann::ordered_json;

// {"schema": 1}: what every answer starts with (docs/json.md).
[[nodiscard]] Json answerJson();
// {"schema": 1, "error": {"code": …, "text": …}}
[[nodiscard]] Json failureJson(const Error& error);
[[nodiscard]] Json shapeJson(ShapeView shape);
[[nodiscard]] Json topologyJson(const Topology& topology);
[[nodiscard]] Json findingJson(const Checkpoint& checkpoint, const Finding& finding);
// {"begin", "end"} of row-major order, or {"offset", "extent"}.
[[nodiscard]] Json regionJson(const RegionView& region);
[[nodiscard]] Json metaJson(const MetaNode& node);

// Indented, with a line end. Bytes of names that are no UTF-8 become U+FFFD.
void printJson(Console& console, const Json& json);

} // namespace shardlens::cli
