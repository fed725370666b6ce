#pragma once

#include "core/encoding/torch_container.h"

namespace shardlens {

// Whether a value is a call that rebuilds a tensor (formats/pytorch.md §3.4), a Parameter around one included.
[[nodiscard]] bool isTensorCall(pickle::Value value);
// The tensor of such a call, checked against its storage (§4).
[[nodiscard]] Result<TorchTensor> rebuildTensor(const TorchContainer& container, pickle::Value value);
// What TorchFile::storageOf() answers.
[[nodiscard]] Result<TorchStoragePart> storagePart(const TorchContainer& container, pickle::Value persistentId);

} // namespace shardlens
