#include "core/layout/partition_preview.h"

#include <fmt/format.h>
#include <nlohmann/json.hpp>

namespace shardlens {
namespace {

using PreviewJson = nlohmann::ordered_json;

PreviewJson stageJson(const StageFacts& facts, bool hasWeights)
{
    PreviewJson out{{"begin", facts.stage.begin}, {"end", facts.stage.end}};
    if (hasWeights)
        out["weight"] = facts.stage.weight;
    if (facts.parameters)
        out["parameters"] = *facts.parameters;
    if (facts.bytes)
        out["bytes"] = *facts.bytes;
    if (facts.firstRank)
        out["ranks"] = PreviewJson{{"begin", *facts.firstRank}, {"end", *facts.firstRank + facts.ranks}};
    return out;
}

PreviewJson balanceJson(const PartitionBalance& balance)
{
    return {{"heaviest", balance.heaviest},
            {"most", balance.most},
            {"least", balance.least},
            {"mean", balance.mean},
            {"imbalance", balance.imbalance}};
}

std::string cellText(const std::optional<std::uint64_t>& number)
{
    return number ? std::to_string(*number) : std::string{};
}

} // namespace

std::vector<StageFacts> stageFactsOf(const PartitionPreview& preview)
{
    std::vector<std::uint64_t> bytes;
    if (preview.layers)
        for (const PipelineLayer& layer : preview.layers->layers)
            bytes.push_back(layer.bytes);
    const std::vector<PartitionStage> byParameters = stagesOf(preview.partition.parts, preview.weights);
    const std::vector<PartitionStage> byBytes = stagesOf(preview.partition.parts, bytes);
    std::vector<StageFacts> out;
    for (std::size_t i = 0; i < preview.partition.stages.size(); ++i) {
        StageFacts facts{preview.partition.stages[i], std::nullopt, std::nullopt, std::nullopt, 0};
        if (!preview.weights.empty())
            facts.parameters = byParameters[i].weight;
        if (!bytes.empty())
            facts.bytes = byBytes[i].weight;
        if (preview.axes) {
            facts.firstRank = firstRankOf(i, *preview.axes);
            facts.ranks = std::uint64_t{preview.axes->dp} * preview.axes->tp;
        }
        out.push_back(facts);
    }
    return out;
}

std::string partitionJson(const PartitionPreview& preview)
{
    const Partition& partition = preview.partition;
    PreviewJson out{{"schema", 1}, {"method", preview.method}, {"parts", partition.parts}, {"stages", PreviewJson::array()}};
    for (const StageFacts& facts : stageFactsOf(preview))
        out["stages"].push_back(stageJson(facts, partition.hasWeights));
    if (partition.hasWeights)
        out["balance"] = balanceJson(balanceOf(partition.stages));
    if (preview.layers) {
        out["layers"] = PreviewJson::array();
        for (const PipelineLayer& layer : preview.layers->layers)
            out["layers"].push_back({{"name", layer.name}, {"weight", layer.weight}, {"frozen", layer.frozen}, {"bytes", layer.bytes}});
        out["notes"] = preview.layers->notes;
    }
    return out.dump(1, ' ', false, PreviewJson::error_handler_t::replace) + "\n";
}

std::string partitionCsv(const PartitionPreview& preview)
{
    std::string out = "stage,begin,end,weight,parameters,bytes,first_rank,ranks\n";
    std::size_t number = 0;
    for (const StageFacts& facts : stageFactsOf(preview))
        out += fmt::format("{},{},{},{},{},{},{},{}\n", number++, facts.stage.begin, facts.stage.end,
                           preview.partition.hasWeights ? std::to_string(facts.stage.weight) : "", cellText(facts.parameters),
                           cellText(facts.bytes), cellText(facts.firstRank), preview.axes ? std::to_string(facts.ranks) : "");
    return out;
}

} // namespace shardlens
