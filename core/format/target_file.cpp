#include "core/format/target_file.h"

#include "core/encoding/torch_pieces.h"

#include <fmt/format.h>

namespace shardlens {

using pickle::Value;

Status addStorageTensors(CheckpointBuilder& builder, FileId id, const TorchFile& file, StorageTensors& storages, std::uint64_t at)
{
    const RoleId role = builder.role(RoleKind::Other, "storage");
    for (std::size_t i = 0; i < file.storages().size(); ++i) {
        TorchStorage storage = file.storages()[i];
        if (!storage.decoded)
            storage.offset += at;
        const std::string where = at == 0 ? std::string() : fmt::format(" at byte {}", at);
        const ParameterId parameter = builder.parameter(fmt::format("{}{}: storage {}", builder.file(id).name, where, i));
        const TensorId tensor = builder.addTensor({parameter, role, DType::U8, Combine::Exclusive, false, {storage.sizeBytes}});
        SHARDLENS_TRY(builder.addWhole(tensor, storagePlacement(builder, id, storage, builder.holder({}))));
        storages.emplace(std::pair{&file, i}, tensor);
    }
    return {};
}

TargetFileMaker::TargetFileMaker(const StorageTensors& storages, bool keepObjects, std::string name)
    : m_storages(&storages), m_tree(keepObjects, [this](const TorchFile& file, const TorchStoragePart& part) { return storageNumber(file, part); })
{
    m_file.name = std::move(name);
}

std::size_t TargetFileMaker::storageNumber(const TorchFile& file, const TorchStoragePart& part)
{
    const auto [known, isNew] = m_numbers.try_emplace({&file, part.storage, part.offsetBytes, part.sizeBytes}, m_file.storages.size());
    if (isNew) {
        TargetStorage storage{part.sizeBytes, {}};
        if (part.sizeBytes != 0)
            storage.runs.push_back({m_storages->at({&file, part.storage}), DType::U8, part.offsetBytes, part.sizeBytes, 0});
        m_file.storages.push_back(std::move(storage));
    }
    return known->second;
}

Result<Value> TargetFileMaker::tensor(DType dtype, const Shape& shape, std::vector<TargetRun> runs, bool requiresGrad)
{
    const std::uint64_t values = elementCount(shape).value_or(0);
    const std::size_t key = m_file.storages.size();
    SHARDLENS_ASSIGN(const Value made, m_tree.tensor(key, dtype, shape, requiresGrad));
    m_file.storages.push_back({values * info(dtype).bytesPerBlock, std::move(runs)});
    ++m_file.tensors;
    return made;
}

Result<Value> TargetFileMaker::whole(const Tensor& from, TensorId id, bool requiresGrad)
{
    const std::uint64_t values = elementCount(from.shape).value_or(0);
    std::vector<TargetRun> runs;
    if (values != 0)
        runs.push_back({id, from.dtype, 0, values, 0});
    return tensor(from.dtype, from.shape, std::move(runs), requiresGrad);
}

Result<Value> TargetFileMaker::copyOf(const TorchFile& file, const TorchTensor& from)
{
    const std::uint64_t bytes = bytesOf(from.dtype, elementCount(from.shape).value_or(0)).value_or(0);
    std::vector<TargetRun> runs;
    if (bytes != 0)
        runs.push_back({m_storages->at({&file, from.storage}), DType::U8, from.offsetBytes, bytes, 0});
    return tensor(from.dtype, from.shape, std::move(runs));
}

Value TargetFileMaker::size(const Shape& shape)
{
    std::vector<Value> extents;
    for (const std::uint64_t extent : shape)
        extents.push_back(graph().integer(static_cast<std::int64_t>(extent)));
    return graph().call(graph().global("torch", "Size"), graph().tuple({graph().tuple(extents)}));
}

Result<TargetTorchFile> TargetFileMaker::finish(Value root, std::set<std::string>& leftOut) &&
{
    leftOut.insert(m_tree.leftOut().begin(), m_tree.leftOut().end());
    SHARDLENS_ASSIGN(m_file.pickle, std::move(m_tree).finish(root));
    return std::move(m_file);
}

} // namespace shardlens
