#include "core/format/deepspeed/reshard_stages.h"

#include "core/base/text.h"
#include "core/layout/partition.h"
#include "core/layout/pipeline_layers.h"

#include <fmt/format.h>

#include <algorithm>

namespace shardlens::deepspeed {
namespace {

// The stage of each layer that a stage's own files name.
std::map<std::uint32_t, std::uint32_t> namedStages(const ParallelRun& run)
{
    std::map<std::uint32_t, std::uint32_t> out;
    for (const ParallelRank& rank : run.ranks) {
        const auto take = [&](const std::string& name) {
            if (const auto layer = layerNumberOf(name))
                out.try_emplace(*layer, rank.pipe);
        };
        for (const std::string& name : rank.opened.names.trainable)
            take(name);
        for (const std::string& name : rank.opened.names.buffers)
            take(name);
    }
    return out;
}

// Boundaries of the source's stages: a layer that nobody names belongs to the stage of the one before it.
std::vector<std::uint32_t> sourceBoundaries(const std::map<std::uint32_t, std::uint32_t>& stages, std::uint32_t pp, std::uint32_t layers)
{
    std::vector<std::uint32_t> out{0};
    for (std::uint32_t stage = 1; stage < pp; ++stage) {
        const auto first = std::find_if(stages.begin(), stages.end(), [&](const auto& one) { return one.second >= stage; });
        out.push_back(first == stages.end() ? layers : std::max(first->first, out.back()));
    }
    out.push_back(layers);
    return out;
}

// Trainable elements of a tied module on one tensor-parallel rank, and the source's stages where no file shows it although the optimizer has it.
struct FilelessTie {
    std::uint64_t weight = 0;
    std::set<std::uint32_t> stages;
};

std::map<std::string, FilelessTie> filelessTies(const ParallelRun& run, const std::vector<std::uint32_t>& boundaries)
{
    std::map<std::string, FilelessTie> out;
    std::map<std::string, std::set<std::string>> counted;
    for (const ParallelRank& rank : run.ranks) {
        if (rank.model != 0 || !rank.opened.run)
            continue;
        for (const ParameterGroup& group : rank.opened.run->groups)
            for (const ParameterShape& parameter : group) {
                const std::string prefix = tiedPrefixOf(parameter.name);
                if (prefix.empty())
                    continue;
                out[prefix].stages.insert(rank.pipe);
                if (counted[prefix].insert(parameter.name).second)
                    out[prefix].weight += parameter.count;
            }
    }
    for (const LayerFile& layer : run.layers)
        if (const auto tie = out.find(layer.prefix); tie != out.end())
            for (std::uint32_t stage = 0; stage + 1 < boundaries.size(); ++stage)
                if (layer.index >= boundaries[stage] && layer.index < boundaries[stage + 1])
                    tie->second.stages.erase(stage);
    return out;
}

// A tied layer counts at every position (§11.5), also where a forward function leaves it without a file: behind the last file in the last stage, else at the
// last number of its stage that has none.
void addFilelessPlaces(const ParallelRun& run, const std::vector<std::uint32_t>& boundaries, std::vector<std::uint64_t>& weights)
{
    for (const auto& [prefix, tie] : filelessTies(run, boundaries)) {
        const auto places = std::count_if(run.layers.begin(), run.layers.end(), [&name = prefix](const LayerFile& layer) { return layer.model == 0 && layer.prefix == name; });
        if (run.isUniversal && places < 2) // says nothing of stages: it is tied to something
            weights.push_back(tie.weight);
        for (const std::uint32_t stage : run.isUniversal ? std::set<std::uint32_t>() : tie.stages) {
            if (stage + 2 == boundaries.size()) {
                weights.push_back(tie.weight);
                continue;
            }
            for (std::uint32_t layer = boundaries[stage + 1]; layer-- > boundaries[stage];)
                if (!run.folder.layers.contains(layer) && layer < weights.size()) {
                    weights[layer] += tie.weight;
                    break;
                }
        }
    }
}

std::uint32_t layerCount(const ParallelRun& run, const std::map<std::uint32_t, std::uint32_t>& stages)
{
    std::uint32_t out = stages.empty() ? 0 : stages.rbegin()->first + 1;
    for (const LayerFile& layer : run.layers)
        out = std::max(out, layer.index + 1);
    return out;
}

} // namespace

std::optional<std::uint32_t> layerNumberOf(const std::string& name)
{
    const std::size_t dot = name.find('.');
    if (dot == std::string::npos || dot == 0 || dot > 8 || name.find_first_not_of("0123456789") != dot)
        return std::nullopt;
    return static_cast<std::uint32_t>(std::stoul(name.substr(0, dot)));
}

std::string tiedPrefixOf(const std::string& name)
{
    constexpr std::string_view kTied = "tied_modules.";
    const std::size_t dot = name.starts_with(kTied) ? name.find('.', kTied.size()) : std::string::npos;
    return dot == std::string::npos ? std::string() : name.substr(0, dot + 1);
}

Result<StageMap> StageMap::of(const ParallelRun& run, const Checkpoint& joined, std::uint32_t pp)
{
    StageMap out;
    out.m_stages = pp;
    const auto& trained = run.ranks.front().opened.names.trainable;
    const bool areNumbered = run.isUniversal && std::all_of(trained.begin(), trained.end(), [](const std::string& name) { return layerNumberOf(name) || !tiedPrefixOf(name).empty(); });
    out.m_isPipeline = !run.folder.layers.empty() || areNumbered;
    if (!out.m_isPipeline) {
        if (pp != run.pp)
            return Error{ErrorCode::Refused, fmt::format("--pp {}: the run has no files of pipeline layers, so its layers cannot be given to other stages", pp)};
        return out;
    }
    const auto sourceStages = namedStages(run);
    const std::uint32_t layers = layerCount(run, sourceStages);
    if (pp == run.pp && !run.isUniversal) {
        out.m_parts = sourceBoundaries(sourceStages, pp, layers);
    } else {
        SHARDLENS_ASSIGN(const PipelineLayers rows, pipelineLayersOf(joined));
        std::vector<std::uint64_t> weights = weightsOf(rows);
        weights.resize(std::max<std::size_t>(weights.size(), layers), 0);
        addFilelessPlaces(run, sourceBoundaries(sourceStages, run.pp, layers), weights);
        PartitionRequest request;
        request.layers = weights.size();
        request.stages = pp;
        request.weights = weights;
        SHARDLENS_ASSIGN(const Partition partition, partitionLayers(request));
        out.m_parts = partition.parts;
        out.m_notes.push_back(fmt::format("Layers are cut into {} as PipelineModule's default method (parameters) cuts them: resume with that partition_method.",
                                          plural(pp, "stage", "stages")));
    }
    out.placeTied(run, sourceStages);
    return out;
}

std::uint32_t StageMap::stageOfLayer(std::uint32_t layer) const
{
    for (std::uint32_t stage = 0; stage + 1 < m_stages; ++stage)
        if (layer < m_parts[stage + 1])
            return stage;
    return m_stages - 1;
}

// A tied module stands where its files are, and in every stage of the source whose optimizer has it: a place with a forward function has no file, and is
// taken to be the last of that stage.
void StageMap::placeTied(const ParallelRun& run, const std::map<std::uint32_t, std::uint32_t>& sourceStages)
{
    const std::vector<std::uint32_t> had = sourceBoundaries(sourceStages, run.pp, layerCount(run, sourceStages));
    const auto sourceStageOf = [&](std::uint32_t layer) {
        std::uint32_t stage = 0;
        while (stage + 1 < run.pp && layer >= had[stage + 1])
            ++stage;
        return stage;
    };
    std::map<std::string, std::set<std::uint32_t>> covered; // stages of the source where a file shows the place
    for (const LayerFile& layer : run.layers)
        if (const std::string prefix = tiedPrefixOf(layer.prefix + "x"); !prefix.empty()) {
            m_tiedStages[prefix].insert(stageOfLayer(layer.index));
            covered[prefix].insert(sourceStageOf(layer.index));
        }
    std::set<std::string> assumed;
    if (run.isUniversal) { // says nothing of stages: a module with one file that is tied stands again at the end
        for (const auto& [prefix, stages] : m_tiedStages)
            if (stages.size() == 1)
                assumed.insert(prefix);
        for (const std::string& prefix : assumed)
            m_tiedStages[prefix].insert(m_stages - 1);
    }
    for (const ParallelRank& rank : run.ranks)
        for (const std::string& name : rank.opened.names.trainable) {
            const std::string prefix = tiedPrefixOf(name);
            if (run.isUniversal || prefix.empty() || covered[prefix].contains(rank.pipe))
                continue;
            const std::uint32_t last = std::max(had[rank.pipe + 1], 1u) - 1;
            m_tiedStages[prefix].insert(rank.pipe + 1 == run.pp ? m_stages - 1 : stageOfLayer(last));
            assumed.insert(prefix);
        }
    if ((m_stages == run.pp && !run.isUniversal) || m_stages == 1)
        return;
    for (const std::string& prefix : assumed)
        m_notes.push_back(fmt::format("Where {} stands again is in no file; it is taken to be the last layer of its stage.", printable(prefix.substr(0, prefix.size() - 1))));
}

std::set<std::uint32_t> StageMap::stagesOf(const std::string& name) const
{
    if (!m_isPipeline || m_stages == 1)
        return {0};
    if (const auto layer = layerNumberOf(name))
        return {stageOfLayer(*layer)};
    const auto tied = m_tiedStages.find(tiedPrefixOf(name));
    return tied == m_tiedStages.end() ? std::set<std::uint32_t>{0} : tied->second;
}

} // namespace shardlens::deepspeed
