#include "app/cli/partition_report.h"

#include "core/base/text.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

namespace shardlens::cli {
namespace {

constexpr std::size_t kShareColumns = 24;
constexpr std::size_t kMostListed = 2'000; // stages or layers for people; --json and --csv have all

std::string stageLayersText(const PartitionStage& stage)
{
    if (stage.begin == stage.end)
        return "none";
    return stage.end - stage.begin == 1 ? std::to_string(stage.begin) : fmt::format("{} to {}", stage.begin, stage.end - 1);
}

std::string shareBar(std::uint64_t weight, std::uint64_t most)
{
    if (weight == 0 || most == 0)
        return "";
    const auto columns =
        static_cast<std::size_t>(std::ceil(static_cast<double>(weight) / static_cast<double>(most) * double{kShareColumns}));
    std::string out;
    for (std::size_t i = 0; i < columns; ++i)
        out += "█";
    return out;
}

std::string ranksText(const StageFacts& facts)
{
    const std::uint64_t first = facts.firstRank.value_or(0);
    return facts.ranks == 1 ? std::to_string(first) : fmt::format("{} to {}", first, first + facts.ranks - 1);
}

void printStages(Console& console, const PartitionPreview& preview)
{
    const Partition& partition = preview.partition;
    const std::vector<StageFacts> stages = stageFactsOf(preview);
    const PartitionBalance balance = balanceOf(partition.stages);
    std::vector<Table::Column> columns{{"stage", true}, {"layers"}};
    const bool hasParameters = partition.countsMatches && !preview.weights.empty();
    if (partition.hasWeights)
        columns.insert(columns.end(), {{partition.countsMatches ? "matches" : "parameters", true}, {"of most", true}, {""}});
    if (hasParameters)
        columns.push_back({"parameters", true});
    if (preview.layers)
        columns.push_back({"bytes", true});
    if (preview.axes)
        columns.push_back({"ranks"});
    Table table(std::move(columns));
    for (std::size_t i = 0; i < std::min(stages.size(), kMostListed); ++i) {
        const StageFacts& facts = stages[i];
        std::vector<std::string> cells{std::to_string(i), stageLayersText(facts.stage)};
        if (partition.hasWeights) {
            const double share = balance.most == 0 ? 0 : static_cast<double>(facts.stage.weight) / static_cast<double>(balance.most);
            cells.insert(cells.end(), {groupedText(facts.stage.weight), percentText(share), shareBar(facts.stage.weight, balance.most)});
        }
        if (hasParameters)
            cells.push_back(groupedText(facts.parameters.value_or(0)));
        if (preview.layers)
            cells.push_back(sizeText(facts.bytes.value_or(0)));
        if (preview.axes)
            cells.push_back(ranksText(facts));
        table.addRow(std::move(cells), facts.stage.begin == facts.stage.end ? Style::Warning : Style::Plain);
    }
    table.print(console, 2);
    if (stages.size() > kMostListed)
        console.line(
            console.styled(Style::Muted, fmt::format("  … {} more; --json and --csv have all", groupedText(stages.size() - kMostListed))));
}

void printBalance(Console& console, const Partition& partition)
{
    const auto empty =
        std::count_if(partition.stages.begin(), partition.stages.end(), [](const PartitionStage& one) { return one.begin == one.end; });
    if (partition.hasWeights) {
        const PartitionBalance balance = balanceOf(partition.stages);
        const std::string mean =
            balance.mean < 1000 ? fmt::format("{:.4g}", balance.mean) : groupedText(static_cast<std::uint64_t>(std::llround(balance.mean)));
        console.line(fmt::format("  Stage {} is the heaviest: {:.2f} × the mean of {}.", balance.heaviest, balance.imbalance, mean));
    }
    if (empty > 0)
        console.line(console.styled(Style::Warning,
                                    fmt::format("  {} no layer.", plural(static_cast<std::uint64_t>(empty), "stage has", "stages have"))));
}

void printBoundaries(Console& console, const Partition& partition)
{
    std::string text = "Boundaries: ";
    for (std::size_t i = 0; i < std::min(partition.parts.size(), kMostListed); ++i)
        text += fmt::format("{}{}", i == 0 ? "" : ", ", partition.parts[i]);
    if (partition.parts.size() > kMostListed)
        text += " …";
    for (const std::string& line : wrapped(text, console.width() - 2))
        console.line("  " + line);
}

void printLayers(Console& console, const PartitionPreview& preview, const PartitionReportOptions& options)
{
    const std::size_t count = preview.partition.parts.back();
    std::vector<Table::Column> columns{{"layer", true}};
    const bool hasFacts = preview.layers.has_value();
    if (hasFacts || !options.names.empty())
        columns.push_back({"name", false, true});
    if (!preview.weights.empty())
        columns.push_back({"parameters", true});
    if (hasFacts)
        columns.insert(columns.end(), {{"frozen", true}, {"bytes", true}});
    Table table(std::move(columns));
    for (std::size_t i = 0; i < std::min(count, kMostListed); ++i) {
        std::vector<std::string> cells{std::to_string(i)};
        if (hasFacts || !options.names.empty())
            cells.push_back(printable(options.names.empty() ? preview.layers->layers[i].name : options.names[i]));
        if (!preview.weights.empty())
            cells.push_back(groupedText(preview.weights[i]));
        if (hasFacts)
            cells.insert(cells.end(), {groupedText(preview.layers->layers[i].frozen), sizeText(preview.layers->layers[i].bytes)});
        table.addRow(std::move(cells));
    }
    console.line();
    table.print(console, 2);
    if (count > kMostListed)
        console.line(console.styled(Style::Muted, fmt::format("  … {} more; --json has all", groupedText(count - kMostListed))));
}

} // namespace

void printPartition(Console& console, const PartitionPreview& preview, const PartitionReportOptions& options)
{
    const Partition& partition = preview.partition;
    if (!options.title.empty())
        console.line(console.styled(Style::Strong, options.title));
    console.line(fmt::format("{} on {}, {}", plural(partition.parts.back(), "layer", "layers"),
                             plural(partition.stages.size(), "stage", "stages"),
                             preview.method == "given" ? "boundaries as given" : printable(preview.method)));
    printStages(console, preview);
    printBalance(console, partition);
    printBoundaries(console, partition);
    if (options.listsLayers)
        printLayers(console, preview, options);
    if (!preview.layers)
        return;
    for (const std::string& note : preview.layers->notes) {
        bool isFirst = true;
        for (const std::string& line : wrapped(note, console.width() - 4)) {
            console.line(console.styled(Style::Muted, (isFirst ? "  · " : "    ") + line));
            isFirst = false;
        }
    }
}

} // namespace shardlens::cli
