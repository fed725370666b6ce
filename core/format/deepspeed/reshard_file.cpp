#include "core/format/deepspeed/reshard.h"

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

Result<Value> FileMaker::config(const std::shared_ptr<const TorchFile>& file, Value config)
{
    const Value zero = config.find("zero_optimization");
    const Value oldStage = zero.find("stage");
    if (!zero.isMapping() || zeroStageOf(oldStage) == m_reshard->zeroStage)
        return tree().import(file, config);
    const Value made = graph().dict();
    for (std::size_t i = 0; i < zero.size(); ++i) {
        if (zero.keyAt(i).asText() == "stage")
            continue;
        SHARDLENS_ASSIGN(const Value key, tree().import(file, zero.keyAt(i)));
        SHARDLENS_ASSIGN(const Value value, tree().import(file, zero.valueAt(i)));
        graph().set(made, key, value);
    }
    graph().set(made, "stage", graph().integer(static_cast<std::int64_t>(m_reshard->zeroStage)));
    return tree().import(file, config, [&](Value value) -> pickle::GraphBuilder::Fate {
        return value == zero ? pickle::GraphBuilder::Fate{pickle::GraphBuilder::Fate::Kind::Replace, made} : pickle::GraphBuilder::Fate{};
    });
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
