#include "core/encoding/torch_pieces.h"

#include <algorithm>
#include <utility>
#include <vector>

namespace shardlens {

CheckpointBuilder::Placement TorchPieces::placementOf(const TorchTensor& tensor, HolderId holder)
{
    if (tensor.noData) {
        const StreamId nowhere = m_builder->addStream({Stream::Kind::Missing, m_file, 0, 0, 0});
        return {nowhere, 0, holder, tensor.flags};
    }
    const TorchStorage& storage = m_torch->storages()[tensor.storage];
    auto known = m_placements.find(tensor.storage);
    if (known == m_placements.end())
        known = m_placements.emplace(tensor.storage, storagePlacement(*m_builder, m_file, storage, holder)).first;
    return {known->second.stream, known->second.offset + tensor.offsetBytes, holder, tensor.flags};
}

Status TorchPieces::addWhole(TensorId id, const TorchTensor& tensor, HolderId holder)
{
    const CheckpointBuilder::Placement placement = placementOf(tensor, holder);
    if (tensor.contiguous || tensor.noData)
        return m_builder->addWhole(id, placement);
    const Shape units = unitShape(tensor.shape, tensor.dtype);
    const Shape origin(units.size(), 0);
    return m_builder->addPiece(id, BoxView{origin, units}, placement, tensor.strides);
}

CheckpointBuilder::Placement storagePlacement(CheckpointBuilder& builder, FileId file, const TorchStorage& storage, HolderId holder)
{
    if (storage.decoded)
        return {builder.addInline(file, *storage.decoded), 0, holder, {}};
    if (storage.deflated)
        return {builder.addStream({Stream::Kind::Deflated, file, storage.offset, storage.storedBytes, storage.sizeBytes,
                                                          storage.isZstd ? Stream::Codec::Zstd : Stream::Codec::Deflate}), 0, holder, {}};
    return {builder.streamOf(file), storage.offset, holder, {}};
}

void addContainerSpans(CheckpointBuilder& builder, FileId file, const TorchFile& torch)
{
    std::vector<std::pair<std::uint64_t, std::uint64_t>> stored; // offset, length
    for (const TorchStorage& storage : torch.storages())
        if (!storage.decoded)
            stored.emplace_back(storage.offset, storage.storedBytes);
    std::sort(stored.begin(), stored.end());
    stored.emplace_back(builder.file(file).size, 0);
    std::uint64_t at = 0;
    for (const auto& [offset, length] : stored) {
        if (offset > at)
            builder.addFileSpan({file, at, offset - at, FileSpan::Kind::Header});
        at = std::max(at, offset + length);
    }
}

} // namespace shardlens
