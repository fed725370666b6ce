#include "app/cli/commands.h"
#include "app/cli/json_answer.h"
#include "app/cli/progress_watch.h"
#include "core/analysis/statistics.h"
#include "core/base/text.h"

#include <CLI/CLI.hpp>
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <memory>

namespace shardlens::cli {
namespace {

constexpr std::size_t kBarColumns = 50;

struct StatsArguments {
    SourceArguments source;
    std::string tensor;
    SelectionArguments selection;
    std::uint32_t threads = 0;
    bool json = false;
};

struct StatsAnswer {
    CheckpointPtr checkpoint;
    std::vector<TensorStatistics> tensors;
};

Result<StatsAnswer> computeStatistics(const StatsArguments& arguments, CommandContext& context)
{
    SHARDLENS_ASSIGN(const SelectionOptions options, arguments.selection.options());
    SHARDLENS_ASSIGN(const CheckpointPtr checkpoint, arguments.source.open(context.job));
    std::vector<SelectedTensor> selection;
    if (arguments.tensor.empty()) {
        SHARDLENS_ASSIGN(selection, selectNamed(*checkpoint, options));
        warnOfLost(context.console, *checkpoint, options);
    } else {
        SHARDLENS_ASSIGN(const TensorId tensor, findTensor(*checkpoint, arguments.tensor));
        selection.push_back({arguments.tensor, tensor});
    }
    const auto executor = makeExecutor(arguments.threads);
    const ProgressWatch watch(context.job, context.console, nullptr, context.console.remarksAreTerminal(), "stats");
    auto found = statisticsOf(checkpoint, selection, *executor, context.job);
    if (!found)
        return found.takeError().within(printable(arguments.source.path));
    return StatsAnswer{checkpoint, found.take()};
}

// What a tensor without finite values has none of is null.
Json finiteJson(const ValueStatistics& values, double number)
{
    return values.finite() == 0 ? Json() : Json(number);
}

Json statisticsJson(const Tensor& tensor, const TensorStatistics& one)
{
    const ValueStatistics& values = one.values;
    Json histogram = Json::array();
    for (const HistogramBin& bin : one.histogram)
        histogram.push_back(Json{{"begin", bin.begin}, {"end", bin.end}, {"count", bin.count}});
    return Json{{"dtype", nameOf(tensor.dtype)},
                {"shape", shapeJson(tensor.shape)},
                {"values", values.values},
                {"min", finiteJson(values, values.min)},
                {"max", finiteJson(values, values.max)},
                {"mean", finiteJson(values, values.mean)},
                {"std", finiteJson(values, values.deviation())},
                {"zeros", values.zeros},
                {"nan", values.nans},
                {"positive_inf", values.positiveInfinities},
                {"negative_inf", values.negativeInfinities},
                {"histogram", std::move(histogram)}};
}

// Written tensor by tensor: the order is the model's, and a name is looked up nowhere.
void printStatisticsJson(Console& console, const StatsAnswer& answer)
{
    console.write("{\n \"schema\": 1,\n \"tensors\": {");
    for (std::size_t i = 0; i < answer.tensors.size(); ++i) {
        const TensorStatistics& one = answer.tensors[i];
        console.write(i == 0 ? "\n  " : ",\n  ");
        console.write(Json(one.name).dump(-1, ' ', false, Json::error_handler_t::replace) + ": " +
                      statisticsJson(answer.checkpoint->tensor(one.tensor), one).dump());
    }
    console.write(answer.tensors.empty() ? "}\n}\n" : "\n }\n}\n");
}

std::string numberText(const ValueStatistics& values, double number)
{
    return values.finite() == 0 ? "–" : fmt::format("{:.5g}", number);
}

std::string countOrDash(std::uint64_t count)
{
    return count == 0 ? "–" : countText(count);
}

void printStatistics(Console& console, const StatsAnswer& answer)
{
    Table table({{"name", false, true}, {"dtype"}, {"min", true}, {"max", true}, {"mean", true}, {"std", true}, {"zeros", true}, {"NaN", true}, {"Inf", true}});
    for (const TensorStatistics& one : answer.tensors) {
        const ValueStatistics& values = one.values;
        const std::uint64_t infinities = values.positiveInfinities + values.negativeInfinities;
        table.addRow({printable(one.name), std::string(nameOf(answer.checkpoint->tensor(one.tensor).dtype)), numberText(values, values.min),
                      numberText(values, values.max), numberText(values, values.mean), numberText(values, values.deviation()), countOrDash(values.zeros),
                      countOrDash(values.nans), countOrDash(infinities)},
                     values.nans + infinities > 0 ? Style::Warning : Style::Plain);
    }
    if (!table.empty())
        table.print(console);
    console.line(console.styled(Style::Muted, plural(answer.tensors.size(), "name", "names")));
}

// One tensor in full: its numbers, and the histogram as bars.
void printOneTensor(Console& console, const StatsAnswer& answer)
{
    const TensorStatistics& one = answer.tensors.front();
    const Tensor& tensor = answer.checkpoint->tensor(one.tensor);
    const ValueStatistics& values = one.values;
    console.line(fmt::format("{}  {} {}", console.styled(Style::Strong, printable(one.name)), nameOf(tensor.dtype), shapeText(tensor.shape)));
    const auto row = [&](const char* label, const std::string& text) { console.line(fmt::format("  {:<9} {}", label, text)); };
    row("values", groupedText(values.values));
    row("min", numberText(values, values.min));
    row("max", numberText(values, values.max));
    row("mean", numberText(values, values.mean));
    row("std", numberText(values, values.deviation()));
    row("zeros", groupedText(values.zeros));
    row("NaN", groupedText(values.nans));
    row("+Inf", groupedText(values.positiveInfinities));
    row("-Inf", groupedText(values.negativeInfinities));
    std::uint64_t most = 1;
    for (const HistogramBin& bin : one.histogram)
        most = std::max(most, bin.count);
    for (const HistogramBin& bin : one.histogram) {
        const auto columns = static_cast<std::size_t>(std::ceil(static_cast<double>(bin.count) / static_cast<double>(most) * double{kBarColumns}));
        std::string bar;
        for (std::size_t i = 0; i < columns; ++i)
            bar += "█";
        console.line(fmt::format("  {:>11.4g} … {:<11.4g} {:>13} {}", bin.begin, bin.end, groupedText(bin.count), console.styled(Style::Good, bar)));
    }
}

int runStats(const StatsArguments& arguments, CommandContext& context)
{
    const auto answer = computeStatistics(arguments, context);
    if (!answer)
        return reportFailure(context.console, answer.error(), arguments.json);
    if (arguments.json)
        printStatisticsJson(context.console, *answer);
    else if (arguments.tensor.empty())
        printStatistics(context.console, *answer);
    else
        printOneTensor(context.console, *answer);
    return kExitDone;
}

} // namespace

void addStatsCommand(CLI::App& program, CommandContext& context)
{
    const auto arguments = std::make_shared<StatsArguments>();
    CLI::App* command = program.add_subcommand("stats", "Least and greatest value, mean, deviation, zeros, NaN, Inf, histogram");
    addSourceArguments(*command, arguments->source);
    CLI::Option* tensor = command->add_option("TENSOR", arguments->tensor, "One tensor, with its histogram (default: all, a line each)");
    addSelectionArguments(*command, arguments->selection);
    for (const char* name : {"--select", "--include", "--exclude"})
        tensor->excludes(command->get_option(name));
    addThreadsOption(*command, arguments->threads);
    command->add_flag("--json", arguments->json, "Answer in JSON (docs/json.md)");
    command->footer("min, max, mean and std are of the finite values; std divides by n; complex values count by their magnitude.\n\n"
                    "Example: shardlens stats /data/run layers.0.mlp.up_proj.weight");
    command->callback([arguments, &context] { context.exitCode = runStats(*arguments, context); });
}

} // namespace shardlens::cli
