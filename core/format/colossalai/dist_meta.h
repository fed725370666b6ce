#pragma once

#include "core/base/result.h"
#include "core/io/byte_source.h"
#include "core/model/region.h"

#include <cstdint>
#include <string>
#include <vector>

namespace shardlens::colossalai {

// One entry of a metadata JSON: a parameter's box in the whole tensor, and the file that holds it (formats/colossalai.md §3.2).
struct DistEntry {
    std::string name;
    Shape offsets;
    Shape lengths;
    Shape global;
    std::uint32_t file = 0; // index into DistMeta::files
    std::string problem;    // a fragment; empty where the entry is well-formed
};

// The metadata of one dist id. Members that are of no use are passed over.
struct DistMeta {
    std::string version;            // as text; empty where there is none
    std::vector<DistEntry> entries; // in the order of the file; of two of one name the last counts
    std::vector<std::string> files; // values of "file", each once
};

// Corrupt: no JSON object, no "metadata", a "metadata" that is none. What is wrong with one entry stands in its `problem`: a missing member by name,
// numbers that are negative, too large or none, lists of different lengths.
[[nodiscard]] Result<DistMeta> readDistMeta(const ByteSource& source);

} // namespace shardlens::colossalai
