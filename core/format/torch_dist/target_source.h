#pragma once

#include "core/encoding/torch_file.h"
#include "core/format/torch_dist/key_names.h"
#include "core/format/torch_dist/target_names.h"
#include "core/job/job_context.h"
#include "core/layout/megatron_arguments.h"
#include "core/model/checkpoint.h"

#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

namespace shardlens::torch_dist {

// An object of a source's container.
struct SourceObject {
    ObjectKey key;
    std::string text;                      // the whole key
    std::shared_ptr<const TorchFile> file; // a list of what the object is
    FileId id = kNoFile;                   // of the source's row
    std::uint64_t offset = 0;              // of the archive in it
};

// A module that keeps an object of its own in every layer that has it: by what stands before the layer's number, and behind.
using ExtraPlace = std::pair<std::string, std::string>; // "decoder.layers.", "mlp.linear_fc1._extra_state"

// What a source holds beside its tensors; its files are read once more for it, because a Checkpoint keeps no graphs.
struct TargetSource {
    enum class Kind {
        TorchDist,
        RankFiles, // of Megatron-LM
        Names,     // a model with the names alone
    };
    Kind kind = Kind::Names;
    std::shared_ptr<const TorchFile> file; // with what is not sharded; null: nothing is known
    pickle::Value root;
    FileId id = kNoFile;
    std::uint64_t offset = 0; // of the archive in the file
    Facts facts;
    std::vector<SourceObject> objects; // TorchDist: but for the common state
    std::set<ExtraPlace> extras;       // modules with `_extra_state`
    bool keepsExtras = false;          // some of them hold something
    std::map<std::string, bool> stacks; // TorchDist: whether layers are stacked, by what stands before their number
    std::string sharding;               // "fully_reshardable"; empty: the optimizer is not distributed, or not known
    std::string masterState = "fp32_param"; // what masters are called
    bool isChained = false;             // TorchDist: keys of states have the number of their optimizer before them
    bool isSingleton = false;           // TorchDist: layers and experts are apart though they are alike
    bool isFlattened = false;           // TorchDist: optimizer states are

    // What is written has names and a type of its own: newer Megatron reads it at any size.
    [[nodiscard]] bool becomesReshardable() const { return kind == Kind::TorchDist && (isFlattened || isChained || sharding == "fully_sharded_model_space") && sharding != "fully_reshardable"; }
};

[[nodiscard]] Result<TargetSource> readTargetSource(const Checkpoint& source, JobContext& job);

// The folder of an iteration that the result is, by the source's, its arguments, or "release".
[[nodiscard]] std::string targetIteration(const Checkpoint& source, const TargetSource& read);

} // namespace shardlens::torch_dist
