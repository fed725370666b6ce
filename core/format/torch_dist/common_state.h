#pragma once

#include "core/encoding/torch_file.h"
#include "core/format/dcp_folder.h"
#include "core/format/torch_dist/iteration.h"
#include "core/layout/megatron_arguments.h"

#include <memory>
#include <optional>
#include <string>
#include <variant>
#include <vector>

namespace shardlens::torch_dist {

// What is not sharded (formats/megatron.md §6.6): common.pt, or since megatron-core 0.19 an object of the container.
struct CommonState {
    std::shared_ptr<const TorchFile> file; // null: there is none, or it cannot be read
    pickle::Value root;                    // a dictionary of `file`
    FileId id = kNoFile;                   // the file's row
    std::uint64_t offset = 0;              // in it, of the archive: storages of `file` count from there
    bool isEntry = false;                  // of the container

    [[nodiscard]] explicit operator bool() const { return file != nullptr; }
};

// common.pt, which Megatron looks for first, with a row of the builder's. Nothing is refused but a cancel: without it the arguments are not known, and the
// findings say why.
[[nodiscard]] Result<CommonState> readCommonFile(const Iteration& iteration, CheckpointBuilder& builder, JobContext& job);
// That of the container, where there is one.
[[nodiscard]] Result<CommonState> readCommonEntry(DcpFolder& folder, JobContext& job);

// The number of the optimizer's step, where all of its groups agree: megatron-core keeps one for all parameters (§6.8).
struct Step {
    std::variant<std::int64_t, double, TorchTensor> number;
    std::shared_ptr<const TorchFile> file; // that a tensor is of
    FileId id = kNoFile;
    std::uint64_t offset = 0; // of the archive in it
};
// `optimizers`: dictionaries of the distributed optimizers' groups, which some types keep as objects of the container instead.
[[nodiscard]] std::optional<Step> stepOf(const CommonState& common, const std::vector<CommonState>& optimizers);

// "fully_reshardable", as content_metadata or the optimizer itself says it; empty where neither does.
[[nodiscard]] std::string shardingTypeOf(const CommonState& common);

} // namespace shardlens::torch_dist
