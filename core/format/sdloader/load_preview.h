#pragma once

#include "core/format/sdloader/factory_list.h"
#include "core/job/job_context.h"

#include <optional>
#include <string>
#include <vector>

namespace shardlens::sdloader {

// A call of MegatronSDLoader.load.
struct LoadRequest {
    std::string path;                     // of the list, or of the folder that has it
    std::size_t mpSize = 1;               // mp_world_size
    std::size_t mpRank = 0;
    std::optional<std::string> moduleKey; // auto; "none" stands for None
    bool isPipeParallel = false;
};

struct LoadPreview {
    std::string list;                     // its path
    std::vector<std::string> files;       // of the list
    Selection selection;
    std::string version;                  // that decides how query_key_value is cut: "2"; empty where load() does not look at it
};

// What that call would do (formats/deepspeed.md §16.2 - 16.4). Only files that it opens to decide are opened, and no values are read.
// Refused where the loader stops: at its construction, at the choice of files, at its sanity check (which runs at a merge only), at a
// version that it does not know, at sizes that do not divide.
[[nodiscard]] Result<LoadPreview> previewLoad(const LoadRequest& request, JobContext& job);

} // namespace shardlens::sdloader
