#include "core/format/deepspeed/reshard.h"

#include "core/base/text.h"

namespace shardlens::deepspeed {

using pickle::Value;

std::uint64_t numberOf(Stage stage)
{
    switch (stage) {
    case Stage::None: return 0;
    case Stage::Zero1:
    case Stage::Bf16Optimizer:
    case Stage::LegacyZero1: return 1;
    case Stage::Zero2: return 2;
    case Stage::Zero3: return 3;
    }
    return 0;
}

FileMaker::FileMaker(const Reshard& reshard, std::string name)
    : m_reshard(&reshard), m_tree(reshard.keepObjects, [this](const TorchFile& file, const TorchStoragePart& part) { return storageNumber(file, part); })
{
    m_file.name = std::move(name);
}

std::size_t FileMaker::storageNumber(const TorchFile& file, const TorchStoragePart& part)
{
    const auto [known, isNew] = m_numbers.try_emplace({&file, part.storage, part.offsetBytes, part.sizeBytes}, m_file.storages.size());
    if (isNew) {
        TargetStorage storage{part.sizeBytes, {}};
        if (part.sizeBytes != 0)
            storage.runs.push_back({m_reshard->storages.at({&file, part.storage}), DType::U8, part.offsetBytes, part.sizeBytes, 0});
        m_file.storages.push_back(std::move(storage));
    }
    return known->second;
}

Result<Value> FileMaker::tensor(DType dtype, const Shape& shape, std::vector<TargetRun> runs, bool requiresGrad)
{
    const std::uint64_t values = elementCount(shape).value_or(0);
    const std::size_t key = m_file.storages.size();
    SHARDLENS_ASSIGN(const Value made, m_tree.tensor(key, dtype, shape, requiresGrad));
    m_file.storages.push_back({values * info(dtype).bytesPerBlock, std::move(runs)});
    ++m_file.tensors;
    return made;
}

Result<Value> FileMaker::copyOf(const TorchFile& file, const TorchTensor& from)
{
    const std::uint64_t bytes = bytesOf(from.dtype, elementCount(from.shape).value_or(0)).value_or(0);
    std::vector<TargetRun> runs;
    if (bytes != 0)
        runs.push_back({m_reshard->storages.at({&file, from.storage}), DType::U8, from.offsetBytes, bytes, 0});
    return tensor(from.dtype, from.shape, std::move(runs));
}

Result<Value> FileMaker::config(const std::shared_ptr<const TorchFile>& file, Value config)
{
    const Value zero = config.find("zero_optimization");
    const Value oldStage = zero.find("stage");
    if (!zero.isMapping() || zeroStageOf(oldStage) == m_reshard->zeroStage)
        return m_tree.import(file, config);
    const Value made = graph().dict();
    for (std::size_t i = 0; i < zero.size(); ++i) {
        if (zero.keyAt(i).asText() == "stage")
            continue;
        SHARDLENS_ASSIGN(const Value key, m_tree.import(file, zero.keyAt(i)));
        SHARDLENS_ASSIGN(const Value value, m_tree.import(file, zero.valueAt(i)));
        graph().set(made, key, value);
    }
    graph().set(made, "stage", graph().integer(static_cast<std::int64_t>(m_reshard->zeroStage)));
    return m_tree.import(file, config, [&](Value value) -> pickle::GraphBuilder::Fate {
        return value == zero ? pickle::GraphBuilder::Fate{pickle::GraphBuilder::Fate::Kind::Replace, made} : pickle::GraphBuilder::Fate{};
    });
}

Value FileMaker::size(const Shape& shape)
{
    std::vector<Value> extents;
    for (const std::uint64_t extent : shape)
        extents.push_back(graph().integer(static_cast<std::int64_t>(extent)));
    return graph().call(graph().global("torch", "Size"), graph().tuple({graph().tuple(extents)}));
}

Result<TargetTorchFile> FileMaker::finish(Value root, std::set<std::string>& leftOut) &&
{
    leftOut.insert(m_tree.leftOut().begin(), m_tree.leftOut().end());
    SHARDLENS_ASSIGN(m_file.pickle, std::move(m_tree).finish(root));
    return std::move(m_file);
}

Result<TargetTorchFile> expertFile(const Reshard& reshard, const ExpertFile& expert, const std::string& name, std::set<std::string>& leftOut)
{
    FileMaker maker(reshard, name);
    const Value old = expert.file.root();
    const Value root = old.isCallOf("collections", "OrderedDict") ? maker.graph().orderedDict() : maker.graph().dict();
    for (std::size_t i = 0; i < old.size(); ++i) {
        SHARDLENS_ASSIGN(const Value key, maker.tree().import(expert.file.torch, old.keyAt(i)));
        std::optional<TorchTensor> tensor;
        if (TorchFile::isTensor(old.valueAt(i))) {
            SHARDLENS_ASSIGN(tensor, expert.file.torch->tensorOf(old.valueAt(i)));
        }
        const bool isOwn = tensor && tensor->contiguous && !tensor->noData && tensor->flags.plain();
        SHARDLENS_ASSIGN(const Value value, isOwn ? maker.copyOf(*expert.file.torch, *tensor) : maker.tree().import(expert.file.torch, old.valueAt(i)));
        maker.graph().set(root, key, value);
    }
    return std::move(maker).finish(root, leftOut);
}

} // namespace shardlens::deepspeed
