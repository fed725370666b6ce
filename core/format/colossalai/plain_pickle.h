#pragma once

#include "core/base/result.h"
#include "core/encoding/pickle/graph.h"
#include "core/job/job_context.h"
#include "core/model/metadata.h"

#include <cstddef>
#include <memory>
#include <string>
#include <vector>

namespace shardlens::colossalai {

// A pickle of numbers, texts, tuples, lists and dictionaries only: what the async writer keeps beside tensors (formats/colossalai.md §7). Refused: anything
// else in it, a call above all; bytes behind its end.
[[nodiscard]] Result<std::shared_ptr<const pickle::Graph>> parsePlainPickle(std::vector<std::byte> bytes, JobContext& job);
// The value for people. At most `maxNodes` nodes; what is left out is said.
[[nodiscard]] MetaNode describePlain(pickle::Value value, std::string key, std::size_t& maxNodes);

} // namespace shardlens::colossalai
