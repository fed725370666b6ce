#include "core/format/deepspeed/run.h"

#include "core/base/checked.h"

#include <numeric>

namespace shardlens::deepspeed {

const char* titleOf(Stage stage)
{
    switch (stage) {
    case Stage::None: return "DeepSpeed without ZeRO";
    case Stage::Zero1: return "DeepSpeed ZeRO-1";
    case Stage::Zero2: return "DeepSpeed ZeRO-2";
    case Stage::Zero3: return "DeepSpeed ZeRO-3";
    case Stage::Bf16Optimizer: return "DeepSpeed BF16_Optimizer";
    case Stage::LegacyZero1: return "DeepSpeed ZeRO-1 (legacy)";
    }
    return "DeepSpeed";
}

HolderId Run::anyRank()
{
    return builder.holder({});
}

HolderId Run::rank(std::uint32_t dp)
{
    if (expertRanks && expertRanks->size() > 1)
        return builder.holder({{{Axis::Dp, expertRanks->replica(dp)}, {Axis::Ep, expertRanks->expertRank(dp)}}});
    return builder.holder({{{Axis::Dp, dp}}});
}

HolderId Run::expertRank(std::uint32_t expertRank, std::uint32_t size)
{
    if (size == 1 || !expertRanks)
        return anyRank();
    if (size == expertRanks->size())
        return builder.holder({{{Axis::Ep, expertRank}}});
    return rank(ExpertRanks(world, size, expertRanks->dataFirst()).ranksOf(expertRank).front());
}

std::vector<std::uint32_t> Run::allRanks() const
{
    std::vector<std::uint32_t> out(world);
    std::iota(out.begin(), out.end(), 0u);
    return out;
}

Topology Run::topology() const
{
    if (!expertRanks || expertRanks->size() == 1)
        return {{{Axis::Dp, world}}};
    const Topology::Size data{Axis::Dp, expertRanks->replicas()};
    const Topology::Size expert{Axis::Ep, expertRanks->size()};
    return expertRanks->dataFirst() ? Topology{{expert, data}} : Topology{{data, expert}};
}

void Run::find(Severity severity, std::string code, std::string text, FileId file, std::optional<std::uint32_t> rank)
{
    builder.addFinding({severity, std::move(code), std::move(text), kNoTensor, file, rank});
}

pickle::Value Run::optimizerState(std::uint32_t rank) const
{
    const auto at = optimizers.find(rank);
    if (at == optimizers.end())
        return {};
    return folder.isUniversal ? at->second.root() : at->second.root().find("optimizer_state_dict");
}

std::optional<std::uint32_t> Run::firstOptimizer() const
{
    for (const auto& [rank, file] : optimizers)
        if (file.torch)
            return rank;
    return std::nullopt;
}

std::optional<std::uint64_t> countOf(pickle::Value value)
{
    const auto number = value.asInt();
    if (!number || *number < 0)
        return std::nullopt;
    return static_cast<std::uint64_t>(*number);
}

std::optional<Shape> shapeOf(pickle::Value value)
{
    if (!value || !value.isSequence())
        return std::nullopt;
    Shape shape;
    for (std::size_t i = 0; i < value.size(); ++i) {
        const auto extent = countOf(value.at(i));
        if (!extent)
            return std::nullopt;
        shape.push_back(*extent);
    }
    return shape;
}

std::optional<std::uint64_t> zeroStageOf(pickle::Value value)
{
    if (const auto plain = countOf(value))
        return plain;
    const pickle::Value args = value.args();
    if (const auto number = countOf(args.at(0)))
        return number;
    // getattr(ZeroStageEnum, "gradients"): Python 3.11.2 and its neighbours (formats/deepspeed.md §2)
    constexpr std::pair<std::string_view, std::uint64_t> kNames[] = {{"disabled", 0}, {"optimizer_states", 1}, {"gradients", 2}, {"weights", 3}, {"max_stage", 3}};
    const auto name = args.at(1).asText();
    for (const auto& [known, stage] : kNames)
        if (name && *name == known)
            return stage;
    return std::nullopt;
}

pickle::Value configOf(pickle::Value fileRoot, std::initializer_list<const char*> path)
{
    pickle::Value at = fileRoot.find("ds_config");
    for (const char* key : path)
        at = at.find(key);
    return at;
}

pickle::Value configOf(const Run& run, std::initializer_list<const char*> path)
{
    const auto first = run.firstOptimizer();
    const bool inModel = static_cast<bool>(run.model.root().find("ds_config")) || !first;
    return configOf(inModel ? run.model.root() : run.optimizers.at(*first).root(), path);
}

} // namespace shardlens::deepspeed
