#pragma once

#include "core/encoding/torch_file.h"
#include "core/encoding/tensor_leaves.h"
#include "core/model/checkpoint_builder.h"

namespace shardlens::torch {

// torch.save writes the whole storage behind a view (formats/pytorch.md §3.6). Marks the bytes of storages that no tensor covers as Unused spans and adds one
// finding, "wasted-bytes", with the largest of them. Storages without any tensor are left alone: other objects may use them.
void addViewSlack(CheckpointBuilder& builder, FileId file, const TorchFile& torch, const std::vector<TreeLeaf>& leaves);

} // namespace shardlens::torch
