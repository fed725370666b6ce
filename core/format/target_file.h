#pragma once

#include "core/encoding/torch_tree.h"
#include "core/format/target.h"
#include "core/model/checkpoint_builder.h"

#include <map>
#include <set>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

namespace shardlens {

// Tensors of a payload that are the storages of source files, as bytes: by file and number of the storage.
using StorageTensors = std::map<std::pair<const TorchFile*, std::size_t>, TensorId>;
// Adds one for each storage of a file that is `id` in the builder: what small objects of its tree hold is copied from there. `at` is where the torch file
// begins in that file.
Status addStorageTensors(CheckpointBuilder& builder, FileId id, const TorchFile& file, StorageTensors& storages, std::uint64_t at = 0);

// One torch file of a target on its way: its pickle, and its storages in the order in which they were asked for.
class TargetFileMaker {
public:
    // `storages` must outlive it, and hold those of every file whose trees are imported.
    TargetFileMaker(const StorageTensors& storages, bool keepObjects, std::string name);
    TargetFileMaker(const TargetFileMaker&) = delete; // its tree asks it for storages
    TargetFileMaker& operator=(const TargetFileMaker&) = delete;

    [[nodiscard]] TorchTree& tree() { return m_tree; }
    [[nodiscard]] pickle::GraphBuilder& graph() { return m_tree.graph(); }

    // A storage of `values` elements of `dtype` filled by the runs, and the 1-D or shaped tensor that is all of it.
    [[nodiscard]] Result<pickle::Value> tensor(DType dtype, const Shape& shape, std::vector<TargetRun> runs, bool requiresGrad = false);
    // All of a tensor of the payload, on a storage of its own.
    [[nodiscard]] Result<pickle::Value> whole(const Tensor& tensor, TensorId id, bool requiresGrad = false);
    // A dense tensor of the source on a storage of its own. What optimizers count with must not be shared: importing one tensor twice would make both one.
    [[nodiscard]] Result<pickle::Value> copyOf(const TorchFile& file, const TorchTensor& tensor);
    // Another tensor on the storage that the last call of tensor() made, of the same shape.
    [[nodiscard]] std::size_t lastStorage() const { return m_file.storages.size() - 1; }
    // torch.Size
    [[nodiscard]] pickle::Value size(const Shape& shape);

    // Names of classes that were left out go into `leftOut`.
    [[nodiscard]] Result<TargetTorchFile> finish(pickle::Value root, std::set<std::string>& leftOut) &&;

private:
    [[nodiscard]] std::size_t storageNumber(const TorchFile& file, const TorchStoragePart& part);

    const StorageTensors* m_storages;
    TargetTorchFile m_file;
    TorchTree m_tree;
    std::map<std::tuple<const TorchFile*, std::size_t, std::uint64_t, std::uint64_t>, std::size_t> m_numbers;
};

} // namespace shardlens
