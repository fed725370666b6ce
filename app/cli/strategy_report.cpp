#include "app/cli/strategy_report.h"

#include "core/base/text.h"
#include "core/layout/strategy_boxes.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>

namespace shardlens::cli {
namespace {

using mindspore::ParameterLayout;
using mindspore::Strategy;
using mindspore::StrategyItem;

constexpr std::size_t kMostSkippedSaid = 8;
constexpr std::uint64_t kMostSameSlice = 4096; // ranks that are listed; more are counted

// "7 to 4, 1, 0": runs of three and more neighbours, in the order given.
std::string rankRunsText(const std::vector<std::uint64_t>& ranks)
{
    std::string out;
    for (std::size_t i = 0; i < ranks.size();) {
        std::size_t end = i + 1;
        const bool isDown = end < ranks.size() && ranks[end] + 1 == ranks[i];
        while (end < ranks.size() && (isDown ? ranks[end] + 1 == ranks[end - 1] : ranks[end] == ranks[end - 1] + 1))
            ++end;
        if (end - i < 3)
            end = i + 1;
        out += out.empty() ? "" : ", ";
        out += end - i == 1 ? std::to_string(ranks[i]) : fmt::format("{} to {}", ranks[i], ranks[end - 1]);
        i = end;
    }
    return out.empty() ? "none" : out;
}

std::string worldText(const Strategy* strategy)
{
    if (strategy == nullptr)
        return "the whole model on one device";
    return fmt::format("{} of {}", plural(strategy->stageCount(), "stage", "stages"), plural(strategy->stageDeviceCount(), "device", "devices"));
}

// "[0, -1]", or "[[1, 0], [-1]]" where a dimension may be cut by several axes.
std::string mapText(const ParameterLayout& layout)
{
    std::string out;
    for (const auto& axes : layout.tensorMap) {
        const std::string one = axes.empty() ? "-1" : fmt::format("{}", fmt::join(axes, ", "));
        out += fmt::format("{}{}", out.empty() ? "" : ", ", layout.isMultiAxis ? "[" + one + "]" : one);
    }
    return "[" + out + "]";
}

// What a rank holds of a parameter: its place along each dimension, the optimizer shard counted into dimension 0.
struct HeldSlice {
    Shape index;
    Shape counts;
    std::optional<Box> box; // where the whole shape is known
    std::string problem;    // why there is none
    std::uint64_t copies = 1;
    std::vector<std::uint64_t> sameSlice; // global ranks; empty where there are too many
};

HeldSlice heldSlice(const Strategy& strategy, const StrategyItem& item, std::uint64_t rank)
{
    const ParameterLayout& layout = strategy.layoutOf(item);
    const std::uint64_t local = strategy.localRankOf(rank);
    HeldSlice out;
    out.counts = mindspore::cutsOf(layout);
    const std::uint64_t shards = mindspore::optimizerShards(layout);
    const std::uint64_t slice = mindspore::sliceOf(layout, local);
    out.index = indexAt(slice / shards, out.counts);
    if (!out.counts.empty()) {
        out.index[0] = out.index[0] * shards + slice % shards;
        out.counts[0] *= shards;
    }
    if (item.fullShape) {
        if (auto box = mindspore::boxOf(layout, *item.fullShape, local))
            out.box = box.take();
        else
            out.problem = box.error().text();
    }
    out.copies = strategy.stageDeviceCount() / mindspore::sliceCount(layout);
    if (out.copies <= kMostSameSlice)
        for (const std::uint64_t same : mindspore::ranksWithSameSlice(layout, local))
            out.sameSlice.push_back(same + rank - local);
    return out;
}

std::string heldText(const HeldSlice& held, const StrategyItem& item)
{
    if (held.box)
        return fmt::format("{} of {}", regionText(viewOf(*held.box)), shapeText(*item.fullShape));
    if (!held.problem.empty())
        return held.problem;
    std::string out;
    for (std::size_t dim = 0; dim < held.counts.size(); ++dim)
        if (held.counts[dim] > 1)
            out += fmt::format("{}part {} of {} along {}", out.empty() ? "" : ", ", held.index[dim] + 1, held.counts[dim], dim);
    return out.empty() ? "all of it" : out;
}

// By name, as people count.
std::vector<std::uint32_t> inOrder(const Strategy& strategy, std::vector<std::uint32_t> items)
{
    std::stable_sort(items.begin(), items.end(), [&](std::uint32_t a, std::uint32_t b) { return naturalLess(strategy.items()[a].name, strategy.items()[b].name); });
    return items;
}

// Parameters of a stage that are cut alike in one row.
void printGroups(Console& console, const Strategy& strategy, const StrategyShowOptions& options)
{
    std::map<std::pair<std::uint32_t, std::uint32_t>, std::vector<std::uint32_t>> groups; // by stage and layout
    for (const std::uint32_t number : inOrder(strategy, options.items))
        groups[{strategy.items()[number].stage, strategy.items()[number].layout}].push_back(number);
    const bool isStaged = strategy.stageCount() > 1;
    std::vector<Table::Column> columns{{"parameters", true}, {"such as", false, true}, {"devices"}, {"map"}, {"cut"}, {"slices", true}, {"copies", true}};
    if (isStaged)
        columns.insert(columns.begin(), {"stage", true});
    Table table(std::move(columns));
    for (const auto& [key, numbers] : groups) {
        const ParameterLayout& layout = strategy.layouts()[key.second];
        const std::uint64_t slices = mindspore::sliceCount(layout);
        std::vector<std::string> row{groupedText(numbers.size()), printable(strategy.items()[numbers.front()].name), shapeText(layout.deviceMatrix), mapText(layout),
                                     mindspore::layoutText(layout), groupedText(slices), groupedText(strategy.stageDeviceCount() / slices)};
        if (isStaged)
            row.insert(row.begin(), std::to_string(key.first));
        table.addRow(std::move(row));
    }
    table.print(console, 2);
    console.line("  --all has a row for each parameter, --parameter RE for some, --rank N what a rank holds.");
}

void printAllRows(Console& console, const Strategy& strategy, const StrategyShowOptions& options)
{
    Table table({{"parameter", false, true}, {"stage", true}, {"devices"}, {"map"}, {"cut"}, {"slices", true}, {"copies", true}});
    for (const std::uint32_t number : inOrder(strategy, options.items)) {
        const StrategyItem& item = strategy.items()[number];
        const ParameterLayout& layout = strategy.layoutOf(item);
        const std::uint64_t slices = mindspore::sliceCount(layout);
        table.addRow({printable(item.name), std::to_string(item.stage), shapeText(layout.deviceMatrix), mapText(layout), mindspore::layoutText(layout), groupedText(slices),
                      groupedText(strategy.stageDeviceCount() / slices)});
    }
    table.print(console, 2);
}

void printRankRows(Console& console, const Strategy& strategy, const StrategyShowOptions& options)
{
    console.line(fmt::format("  rank {}: stage {}, device {} of {}",
                             *options.rank, strategy.stageOf(*options.rank), strategy.localRankOf(*options.rank), strategy.stageDeviceCount()));
    Table table({{"parameter", false, true}, {"holds"}, {"same slice on ranks", false, true}});
    for (const std::uint32_t number : inOrder(strategy, options.items)) {
        const StrategyItem& item = strategy.items()[number];
        const HeldSlice held = heldSlice(strategy, item, *options.rank);
        table.addRow({printable(item.name), heldText(held, item), held.copies == 1 ? "no other" : held.sameSlice.empty() ? groupedText(held.copies) + " ranks" : rankRunsText(held.sameSlice)});
    }
    table.print(console, 2);
}

Json mapJson(const ParameterLayout& layout)
{
    Json out = Json::array();
    for (const auto& axes : layout.tensorMap) {
        Json& dimension = out.emplace_back(Json::array());
        for (const std::uint32_t axis : axes)
            dimension.push_back(axis);
    }
    return out;
}

Json heldJson(const HeldSlice& held)
{
    Json out;
    out["index"] = shapeJson(held.index);
    out["counts"] = shapeJson(held.counts);
    out["region"] = held.box ? regionJson(viewOf(*held.box)) : Json();
    out["same_slice"] = held.sameSlice.empty() ? Json() : Json(held.sameSlice);
    if (!held.problem.empty())
        out["problem"] = held.problem;
    return out;
}

Json itemJson(const Strategy& strategy, const StrategyItem& item, const std::optional<std::uint64_t>& rank)
{
    const ParameterLayout& layout = strategy.layoutOf(item);
    const std::uint64_t slices = mindspore::sliceCount(layout);
    Json out;
    out["name"] = printable(item.name);
    out["stage"] = item.stage;
    out["dev_matrix"] = shapeJson(layout.deviceMatrix);
    out["tensor_map"] = mapJson(layout);
    out["multi_axis"] = layout.isMultiAxis;
    out["tensor_shape"] = item.fullShape ? shapeJson(*item.fullShape) : Json();
    out["field"] = layout.field;
    out["opt_weight_shard_step"] = layout.optShardStep;
    out["opt_weight_shard_size"] = layout.optShardSize;
    out["param_split_shape"] = layout.paramSplitShape;
    out["indices_offset"] = layout.indicesOffset;
    out["cuts"] = shapeJson(mindspore::cutsOf(layout));
    out["optimizer_shards"] = mindspore::optimizerShards(layout);
    out["slices"] = slices;
    out["copies"] = strategy.stageDeviceCount() / slices;
    if (rank)
        out["held"] = heldJson(heldSlice(strategy, item, *rank));
    return out;
}

Json operatorRowsJson(const Strategy& strategy)
{
    Json out = Json::array();
    for (const mindspore::StrategyOperator& one : strategy.operators())
        out.push_back({{"name", printable(one.name)}, {"stage", one.stage}, {"parallel_strategy", one.strategies}});
    return out;
}

} // namespace

void printRankNeeds(Console& console, const RankNeeds& needs, const Strategy* source, const Strategy* target)
{
    console.line(fmt::format("From {} to {}:", worldText(source), worldText(target)));
    std::vector<std::vector<std::uint64_t>> ranksOf(needs.lists.size());
    for (const auto& [rank, list] : needs.ranks)
        ranksOf[list].push_back(rank);
    Table table({{target == nullptr || target->worldSize() > 1 ? "target ranks" : "target rank", false, true}, {"files", true}, {"MindSpore opens source ranks", false, true}});
    for (std::size_t i = 0; i < needs.lists.size(); ++i)
        table.addRow({rankRunsText(ranksOf[i]), groupedText(needs.lists[i].size()), rankRunsText(needs.lists[i])});
    table.print(console, 2);
}

void printRankNeedsJson(Console& console, const RankNeeds& needs)
{
    std::vector<std::string> lists;
    for (const auto& list : needs.lists)
        lists.push_back(fmt::format("[{}]", fmt::join(list, ", ")));
    console.write("{\n  \"schema\": 1,\n  \"ranks\": {");
    for (std::size_t i = 0; i < needs.ranks.size(); ++i)
        console.write(fmt::format("{}\n    \"{}\": {}", i == 0 ? "" : ",", needs.ranks[i].first, lists[needs.ranks[i].second]));
    console.write("\n  }\n}\n");
}

void printStrategy(Console& console, const Strategy& strategy, const StrategyShowOptions& options)
{
    console.line(fmt::format("{}: MindSpore strategy{}, {}{}",
                             printable(strategy.name()), strategy.layouts().front().isFromJson ? " (JSON)" : "", worldText(&strategy),
                             strategy.isMerged() ? ", merged" : ""));
    console.line(fmt::format("  {} in {}, {}", plural(strategy.parameterCount(), "parameter", "parameters"), plural(strategy.layouts().size(), "layout", "layouts"),
                             plural(strategy.operators().size(), "operator", "operators")));
    for (const std::string& note : strategy.notes())
        console.warning(note + ".");
    if (options.rank)
        printRankRows(console, strategy, options);
    else if (options.eachParameter)
        printAllRows(console, strategy, options);
    else
        printGroups(console, strategy, options);
}

Json strategyJson(const Strategy& strategy, const StrategyShowOptions& options)
{
    Json out = answerJson();
    out["path"] = strategy.name();
    out["encoding"] = strategy.layouts().front().isFromJson ? "json" : "protobuf";
    out["merged"] = strategy.isMerged();
    out["current_stage"] = strategy.currentStage();
    out["stages"] = strategy.stageCount();
    out["stage_devices"] = strategy.stageDeviceCount();
    out["world_size"] = strategy.worldSize();
    out["notes"] = Json::array();
    for (const std::string& note : strategy.notes())
        out["notes"].push_back(note);
    out["rank"] = options.rank ? Json(*options.rank) : Json();
    Json& parameters = out["parameters"] = Json::array();
    for (const std::uint32_t number : options.items)
        parameters.push_back(itemJson(strategy, strategy.items()[number], options.rank));
    out["operators"] = operatorRowsJson(strategy);
    return out;
}

void printMerge(Console& console, const mindspore::StrategyFolder& merged, const StrategyMergeAnswer& answer)
{
    const Strategy& strategy = merged.strategy;
    console.line(fmt::format("Written: {}, {}: {}, {}",
                             printable(answer.file), exactSizeText(answer.bytes), worldText(&strategy), plural(strategy.items().size(), "parameter", "parameters")));
    Table table({{"stage", true}, {"file", false, true}, {"parameters", true}});
    for (const mindspore::StrategyFolder::Part& one : merged.parts)
        table.addRow({std::to_string(one.stage), printable(one.file), groupedText(one.parameters)});
    table.print(console, 2);
    for (std::size_t i = 0; i < std::min(merged.skipped.size(), kMostSkippedSaid); ++i)
        console.line(fmt::format("  skipped {}: {}", printable(merged.skipped[i].file), merged.skipped[i].why));
    if (merged.skipped.size() > kMostSkippedSaid)
        console.line(fmt::format("  skipped {} more", groupedText(merged.skipped.size() - kMostSkippedSaid)));
    for (const std::string& warning : answer.warnings)
        console.warning(warning + ".");
}

Json mergeJson(const mindspore::StrategyFolder& merged, const StrategyMergeAnswer& answer)
{
    Json out = answerJson();
    out["file"] = answer.file;
    out["bytes"] = answer.bytes;
    out["world_size"] = merged.strategy.worldSize();
    out["parameters"] = merged.strategy.items().size();
    Json& stages = out["stages"] = Json::array();
    for (const mindspore::StrategyFolder::Part& one : merged.parts)
        stages.push_back({{"stage", one.stage}, {"file", printable(one.file)}, {"parameters", one.parameters}});
    Json& skipped = out["skipped"] = Json::array();
    for (const mindspore::StrategyFolder::Skipped& one : merged.skipped)
        skipped.push_back({{"file", printable(one.file)}, {"why", one.why}});
    out["warnings"] = answer.warnings;
    return out;
}

} // namespace shardlens::cli
