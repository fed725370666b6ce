#include "core/format/deepspeed/layer_writer.h"

#include "core/base/text.h"
#include "core/format/deepspeed/reshard_stages.h"
#include "core/format/target_file.h"

#include <fmt/format.h>

#include <algorithm>
#include <unordered_map>

namespace shardlens::deepspeed {

using pickle::Value;

Result<TensorId> LocalTensors::cut(const std::string& name, TensorId whole, std::uint32_t rank)
{
    const Tensor& tensor = m_joined.tensor(whole);
    if (m_ranks == 1 || tensor.shape.empty())
        return whole;
    SHARDLENS_ASSIGN(const ShardRule* rule, m_rules.ruleFor(name, m_facts));
    if (rule == nullptr)
        return Error{ErrorCode::Refused, fmt::format("no tensor-parallel rule of {} matches it; --rules names a file with one", printable(m_rules.id))};
    if (rule->kind != Division::Kind::Split)
        return whole;
    SHARDLENS_ASSIGN(const Division division, divisionOf(*rule, tensor.shape, m_ranks, m_facts));
    Tensor local = tensor;
    local.shape = partShape(division, tensor.shape, rank);
    const TensorId id = m_builder.addTensor(local);
    for (const Slab& slab : slabsInto(division, tensor.shape, rank))
        SHARDLENS_TRY(m_import.addThrough(id, whole, slab));
    return id;
}

Result<ParameterTensors> LocalTensors::of(const std::string& name, const ParameterTensors& whole, std::uint32_t rank, bool moduleOnly)
{
    ParameterTensors out;
    if (whole.module) {
        SHARDLENS_ASSIGN(out.module, cut(name, *whole.module, rank));
    }
    if (whole.master) { // names and shapes are wanted of it even where only the module is written
        SHARDLENS_ASSIGN(out.master, cut(name, *whole.master, rank));
    }
    if (moduleOnly)
        return out;
    for (const auto& [state, tensor] : whole.states) {
        SHARDLENS_ASSIGN(const TensorId local, cut(name, tensor, rank));
        out.states.emplace(state, local);
    }
    return out;
}

Status writeLayers(const ParallelRun& parallel, const std::vector<TensorsByName>& local, const LayerFileOptions& options, const Checkpoint& payload, JobContext& job,
                   std::set<std::string>& leftOut, Target& out)
{
    const StorageTensors none;
    const bool hasAxis = parallel.folder.hasModelAxis || local.size() > 1;
    for (const auto& [index, files] : parallel.folder.layers)
        for (std::uint32_t model = 0; model < local.size(); ++model) {
            SHARDLENS_TRY(job.poll());
            const std::uint32_t from = model * parallel.tp / static_cast<std::uint32_t>(local.size());
            const auto layer = std::find_if(parallel.layers.begin(), parallel.layers.end(), [&](const LayerFile& one) { return one.index == index && one.model == from; });
            const std::string axis = hasAxis ? fmt::format("-model_{:02d}", model) : std::string();
            TargetFileMaker maker(none, options.keepObjects, fmt::format("{}/layer_{:02d}{}-model_states.pt", options.tag, index, axis));
            std::unordered_map<std::uint32_t, Value> made;
            for (std::size_t i = 0; i < layer->content.values.size(); ++i) {
                const std::string name = layer->prefix + layer->content.checkpoint->parameterOf(idAt<TensorId>(i));
                const auto found = local[model].find(name);
                if (found == local[model].end() || !found->second.module)
                    return Error{ErrorCode::Refused, fmt::format("{} of the layer file {} is not in the model", printable(name), printable(layer->name))};
                SHARDLENS_ASSIGN(const Value tensor, maker.whole(payload.tensor(*found->second.module), *found->second.module));
                made.emplace(layer->content.values[i].index(), tensor);
            }
            using Fate = pickle::GraphBuilder::Fate;
            SHARDLENS_ASSIGN(const Value root, maker.tree().import(layer->content.torch, layer->content.torch->root(), [&](Value value) -> Fate {
                const auto known = made.find(value.index());
                return known == made.end() ? Fate{} : Fate{Fate::Kind::Replace, known->second};
            }));
            SHARDLENS_ASSIGN(auto file, std::move(maker).finish(root, leftOut));
            out.torchFiles.push_back(std::move(file));
        }
    return {};
}

Status writeNamedLayers(const Checkpoint& joined, const std::vector<TensorsByName>& local, const LayerFileOptions& options, const Checkpoint& payload, JobContext& job,
                        std::set<std::string>& leftOut, Target& out)
{
    std::map<std::uint32_t, std::vector<std::string>> layers;
    bool isNumbered = true;
    for (const std::string& name : joined.parameters()) {
        const auto tensors = local.front().find(name);
        if (tensors == local.front().end() || (!tensors->second.module && !tensors->second.master))
            continue; // no parameter: a storage
        if (!tiedPrefixOf(name).empty())
            return Error{ErrorCode::Refused, fmt::format("{}: which layer that is, is nowhere in the checkpoint, and its layer files are not beside it", printable(name))};
        const auto layer = layerNumberOf(name);
        isNumbered = isNumbered && layer;
        if (layer)
            layers[*layer].push_back(name);
    }
    if (!isNumbered)
        return {};
    const StorageTensors none;
    for (const auto& [index, names] : layers)
        for (std::uint32_t model = 0; model < local.size(); ++model) {
            SHARDLENS_TRY(job.poll());
            const std::string axis = local.size() > 1 ? fmt::format("-model_{:02d}", model) : std::string();
            TargetFileMaker maker(none, options.keepObjects, fmt::format("{}/layer_{:02d}{}-model_states.pt", options.tag, index, axis));
            const Value root = maker.graph().orderedDict();
            for (const std::string& name : names) {
                const ParameterTensors& found = local[model].at(name);
                const TensorId id = found.module ? *found.module : *found.master;
                const Tensor& tensor = payload.tensor(id);
                const DType dtype = found.module ? tensor.dtype : options.trained;
                const std::uint64_t values = elementCount(tensor.shape).value_or(0);
                std::vector<TargetRun> runs;
                if (values != 0)
                    runs.push_back({id, dtype, 0, values, 0});
                SHARDLENS_ASSIGN(const Value made, maker.tensor(dtype, tensor.shape, std::move(runs)));
                maker.graph().set(root, name.substr(name.find('.') + 1), made);
            }
            SHARDLENS_ASSIGN(auto file, std::move(maker).finish(root, leftOut));
            out.torchFiles.push_back(std::move(file));
        }
    return {};
}

} // namespace shardlens::deepspeed
