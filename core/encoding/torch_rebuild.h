#pragma once

#include "core/encoding/torch_container.h"

namespace shardlens {

// Whether a value is a call that rebuilds a tensor (formats/pytorch.md §3.4), a Parameter around one included.
[[nodiscard]] bool isTensorCall(pickle::Value value);
// The tensor of such a call, checked against its storage (§4).
[[nodiscard]] Result<TorchTensor> rebuildTensor(const TorchContainer& container, pickle::Value value);
// What TorchFile answers about sparse tensors.
[[nodiscard]] std::optional<std::string_view> sparseLayout(pickle::Value value);
[[nodiscard]] Result<std::vector<TorchSparsePart>> sparseParts(pickle::Value value);
[[nodiscard]] Result<Shape> sparseShape(pickle::Value value);
// A storage with the bytes that a persistent id says it has, which may be fewer than there are; nullopt where it is none of this file.
[[nodiscard]] std::optional<TorchStoragePart> claimedBytes(const TorchContainer& container, pickle::Value persistentId);
// What TorchFile::storageOf() answers.
[[nodiscard]] Result<TorchStoragePart> storagePart(const TorchContainer& container, pickle::Value persistentId);

} // namespace shardlens
