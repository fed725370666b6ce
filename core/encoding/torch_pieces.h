#pragma once

#include "core/base/result.h"
#include "core/encoding/torch_file.h"
#include "core/model/checkpoint_builder.h"

#include <unordered_map>

namespace shardlens {

// Turns the tensors of one torch file into pieces. Builder and file must outlive it.
class TorchPieces {
public:
    TorchPieces(CheckpointBuilder& builder, FileId file, const TorchFile& torch) : m_builder(&builder), m_file(file), m_torch(&torch) {}

    // Where the first element of a tensor lies.
    [[nodiscard]] CheckpointBuilder::Placement placementOf(const TorchTensor& tensor, HolderId holder);
    // A piece that covers the whole of `id`, honouring strides, byte order and what is not stored (a hole).
    Status addWhole(TensorId id, const TorchTensor& tensor, HolderId holder);

private:
    CheckpointBuilder* m_builder;
    FileId m_file;
    const TorchFile* m_torch;
    std::unordered_map<std::size_t, CheckpointBuilder::Placement> m_placements; // by storage, its first byte
};

// Where the first byte of a storage lies. A storage that is compressed or decoded gets a stream of its own with every call.
[[nodiscard]] CheckpointBuilder::Placement storagePlacement(CheckpointBuilder& builder, FileId file, const TorchStorage& storage, HolderId holder);
// Marks what is no storage of the file (pickles, records' headers, the directory) as Header spans.
void addContainerSpans(CheckpointBuilder& builder, FileId file, const TorchFile& torch);

} // namespace shardlens
