#pragma once

#include "core/format/dcp_folder.h"
#include "core/format/torch_dist/common_state.h"
#include "core/format/torch_dist/iteration.h"

#include <optional>

namespace shardlens::torch_dist {

// A checkpoint on its way: what its folder holds, and the rows that were made of it.
struct Reading {
    Reading(const Candidate& candidate, Iteration inFolder) : iteration(std::move(inFolder)), builder(candidate.path, iteration.path) {}

    Iteration iteration;
    CheckpointBuilder builder;
    std::optional<DcpFolder> folder;
    FileId index = kNoFile; // .metadata
    CommonState common;
    std::vector<CommonState> optimizers; // what groups of distributed optimizers keep as objects of the container
    Facts facts;
};

// .metadata, with a row of the builder's. Errors name it.
[[nodiscard]] Result<DcpMetadata> readIndex(Reading& reading, JobContext& job);
// Objects of the container as metadata, and what is not sharded: common.pt, else the container's (§6.6).
Status readObjects(Reading& reading, JobContext& job);
// metadata.json and integrity.json, files that nothing names, and what one has been saved twice.
void addFolderFindings(Reading& reading);

} // namespace shardlens::torch_dist
