#pragma once

#include "core/model/checkpoint.h"

#include <QString>

#include <cstdint>
#include <memory>
#include <stop_token>
#include <vector>

namespace shardlens::ui {

// The metadata of all files as one tree: what is the same everywhere is there once, what differs is marked and lists its values by file.
// Nodes are in depth-first order; immutable, made on a worker.
struct MetadataNode {
    static constexpr std::uint32_t kNone = 0xFFFFFFFF;

    QString key;
    QString value;
    QString type;
    MetaNode::Kind kind = MetaNode::Kind::Null;
    bool differs = false;   // its children are the values that the files give
    bool variant = false;   // one of those values
    std::uint32_t parent = kNone;
    std::uint32_t row = 0;  // among the children of the parent
    std::uint32_t end = 0;  // behind the last node below it
    std::vector<FileId> files;
};

struct MetadataTree {
    CheckpointPtr checkpoint;
    std::vector<MetadataNode> nodes;
    std::uint32_t differing = 0; // nodes that differ
    bool truncated = false;      // more than kMostNodes

    static constexpr std::size_t kMostNodes = 2'000'000;

    // nullptr where `stop` was requested.
    [[nodiscard]] static std::shared_ptr<const MetadataTree> build(const CheckpointPtr& checkpoint, std::stop_token stop = {});
    // "all 4 files", "rank 2", "mp_rank_00_model_states.pt"
    [[nodiscard]] QString filesText(const MetadataNode& node) const;
    // "optimizer_state_dict.param_groups.0.lr"
    [[nodiscard]] QString pathOf(std::uint32_t node) const;
};

using MetadataTreePtr = std::shared_ptr<const MetadataTree>;

} // namespace shardlens::ui
