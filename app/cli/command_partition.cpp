#include "app/cli/commands.h"
#include "app/cli/output_file.h"
#include "app/cli/partition_report.h"
#include "core/base/number_list.h"
#include "core/base/text.h"

#include <CLI/CLI.hpp>
#include <fmt/format.h>

#include <memory>

namespace shardlens::cli {
namespace {

constexpr std::uint32_t kMostRanksOfAxis = 1'000'000;

struct PartitionArguments {
    SourceArguments source; // its path may be empty
    std::string weights;
    std::string names;
    std::uint64_t stages = 0; // 0: the run's own
    std::string method = "parameters";
    std::string parts;
    std::string deepspeedVersion;
    std::string before;
    std::string behind;
    std::uint32_t dp = 0; // 0: the run's own
    std::uint32_t tp = 0;
    std::string out;
    bool json = false;
    bool csv = false;
    bool isVerbose = false;
};

Result<LayerOptions> layerOptions(const PartitionArguments& arguments)
{
    LayerOptions out;
    const auto compile = [](const std::string& pattern, std::optional<Regex>& into) -> Status {
        if (pattern.empty())
            return {};
        SHARDLENS_ASSIGN(into, Regex::compile(pattern));
        return {};
    };
    SHARDLENS_TRY(compile(arguments.before, out.before));
    SHARDLENS_TRY(compile(arguments.behind, out.behind));
    return out;
}

// Layers, weights, names and axes, from a checkpoint or from what was typed.
struct PartitionInput {
    std::string title;
    std::uint64_t layers = 0;
    std::uint64_t stages = 0;
    std::vector<std::string> names;
    PartitionPreview preview; // all but the partition
};

Status readCheckpoint(const PartitionArguments& arguments, CommandContext& context, PartitionInput& input)
{
    SHARDLENS_ASSIGN(const LayerOptions options, layerOptions(arguments));
    SHARDLENS_ASSIGN(const CheckpointPtr checkpoint, arguments.source.open(context.job));
    auto layers = pipelineLayersOf(*checkpoint, options);
    if (!layers)
        return layers.takeError().within(printable(arguments.source.path));
    input.title = fmt::format("{}, {}", printable(checkpoint->title()), checkpoint->formatTitle());
    input.stages = layers->stages;
    input.preview.axes = layers->axes;
    input.preview.weights = weightsOf(*layers);
    input.preview.layers = layers.take();
    return {};
}

Result<PartitionInput> inputOf(const PartitionArguments& arguments, CommandContext& context)
{
    PartitionInput out;
    if (!arguments.source.path.empty())
        SHARDLENS_TRY(readCheckpoint(arguments, context, out));
    if (!arguments.weights.empty()) {
        SHARDLENS_ASSIGN(out.preview.weights, wholeNumbersOf(arguments.weights, "weight"));
    }
    if (!arguments.names.empty()) {
        SHARDLENS_ASSIGN(out.names, wordsOf(arguments.names, "name"));
    }
    out.layers = out.preview.weights.empty() ? out.names.size() : out.preview.weights.size();
    if (out.layers == 0)
        return Error{ErrorCode::Refused, "no layers: give a PATH, --weights or --names"};
    if (arguments.stages != 0)
        out.stages = arguments.stages;
    if (arguments.dp != 0 || arguments.tp != 0) {
        StageAxes& axes = out.preview.axes ? *out.preview.axes : out.preview.axes.emplace();
        axes = {arguments.dp != 0 ? arguments.dp : axes.dp, arguments.tp != 0 ? arguments.tp : axes.tp};
    }
    return out;
}

Result<Partition> cutAt(const PartitionArguments& arguments, const PartitionInput& input)
{
    std::vector<std::uint32_t> parts;
    SHARDLENS_ASSIGN(const std::vector<std::uint64_t> numbers, wholeNumbersOf(arguments.parts, "boundary"));
    for (const std::uint64_t number : numbers) {
        if (number > input.layers)
            return Error{ErrorCode::Refused,
                         fmt::format("boundary {} lies behind the last of {}", number, plural(input.layers, "layer", "layers"))};
        parts.push_back(static_cast<std::uint32_t>(number));
    }
    return partitionAt(std::move(parts), input.layers, input.preview.weights);
}

Result<Partition> cutByMethod(const PartitionArguments& arguments, PartitionInput& input, CommandContext& context)
{
    if (input.stages == 0)
        return Error{ErrorCode::Refused, "the number of stages is not known: give --stages"};
    PartitionRequest request{input.layers, input.stages, {}, {}, input.preview.weights, input.names};
    SHARDLENS_ASSIGN(request.method, parsePartitionMethod(arguments.method));
    if (!arguments.deepspeedVersion.empty()) {
        SHARDLENS_ASSIGN(request.rules, partitionRulesOf(arguments.deepspeedVersion));
    }
    input.preview.method = nameOf(request.method);
    return partitionLayers(request, context.job.stopToken());
}

Result<PartitionInput> previewOf(const PartitionArguments& arguments, CommandContext& context)
{
    SHARDLENS_ASSIGN(PartitionInput input, inputOf(arguments, context));
    input.preview.method = "given";
    SHARDLENS_ASSIGN(input.preview.partition, arguments.parts.empty() ? cutByMethod(arguments, input, context) : cutAt(arguments, input));
    return input;
}

Status writePreview(const std::string& path, const PartitionPreview& preview)
{
    const bool isCsv = path.ends_with(".csv");
    if (!isCsv && !path.ends_with(".json"))
        return Error{ErrorCode::Refused, "the name of --out ends in .json or .csv"}.within(printable(path));
    return writeNewFile(path, [&](std::FILE* file) -> Status {
        const std::string text = isCsv ? partitionCsv(preview) : partitionJson(preview);
        std::fwrite(text.data(), 1, text.size(), file);
        return {};
    });
}

Status partition(const PartitionArguments& arguments, CommandContext& context)
{
    SHARDLENS_ASSIGN(const PartitionInput answer, previewOf(arguments, context));
    if (!arguments.out.empty())
        SHARDLENS_TRY(writePreview(arguments.out, answer.preview));
    if (arguments.json)
        context.console.write(partitionJson(answer.preview));
    else if (arguments.csv)
        context.console.write(partitionCsv(answer.preview));
    else
        printPartition(context.console, answer.preview, {answer.title, answer.names, arguments.isVerbose});
    if (!arguments.out.empty())
        context.console.remark("Written: " + printable(arguments.out));
    return {};
}

void addInputOptions(CLI::App& command, PartitionArguments& arguments)
{
    addSourceArguments(command, arguments.source);
    CLI::Option* path = command.get_option("PATH")->required(false)->description("A checkpoint: its layers and their trainable parameters");
    command.add_option("--before", arguments.before, "Names to count before the numbered layers of PATH")->type_name("RE");
    command.add_option("--behind", arguments.behind, "Names to count behind them")->type_name("RE");
    for (CLI::Option* one : command.get_options())
        if (one != path && one != command.get_help_ptr())
            one->needs(path);
    command.add_option("--weights", arguments.weights, "Instead of PATH: the trainable parameters of each layer: 400,52*6,400")
        ->type_name("LIST")
        ->excludes(path);
    command.add_option("--names", arguments.names, "Class names of the layers, for type:RE")->type_name("LIST");
}

void addMethodOptions(CLI::App& command, PartitionArguments& arguments)
{
    CLI::Option* stages = command.add_option("--stages", arguments.stages, "Number of pipeline stages (default: those of the run)")
                              ->type_name("N")
                              ->check(CLI::Range(std::uint64_t{1}, kMostStages).description(""));
    CLI::Option* method =
        command.add_option("--method", arguments.method, "uniform, parameters or type:RE (default: parameters)")->type_name("METHOD");
    CLI::Option* version =
        command.add_option("--deepspeed-version", arguments.deepspeedVersion, "Cut as that version does (default: as since 0.12.5)")
            ->type_name("X.Y.Z");
    CLI::Option* parts =
        command.add_option("--parts", arguments.parts, "Your own boundaries instead of a method: 0,3,7")->type_name("LIST");
    for (CLI::Option* one : {stages, method, version})
        parts->excludes(one);
    for (auto [name, size, axis] : {std::tuple{"--dp", &arguments.dp, "Data"}, std::tuple{"--tp", &arguments.tp, "Tensor"}})
        command.add_option(name, *size, fmt::format("{}-parallel ranks of a stage, to say which those are", axis))
            ->type_name("N")
            ->check(CLI::Range(1u, kMostRanksOfAxis).description(""));
}

} // namespace

void addPartitionCommand(CLI::App& program, CommandContext& context)
{
    const auto arguments = std::make_shared<PartitionArguments>();
    CLI::App* command = program.add_subcommand("partition", "How DeepSpeed cuts layers into pipeline stages: a preview");
    addInputOptions(*command, *arguments);
    addMethodOptions(*command, *arguments);
    CLI::Option* json = command->add_flag("--json", arguments->json, "Answer in JSON (docs/json.md)");
    command->add_flag("--csv", arguments->csv, "Answer as comma-separated values, a line each stage")->excludes(json);
    command->add_option("--out", arguments->out, "Also write the answer into this file (.json or .csv)")->type_name("FILE");
    command->add_flag("-v,--verbose", arguments->isVerbose, "List the layers too");
    command->footer("`parameters` balances trainable parameters, type:RE the layers whose class name matches: the method is\n"
                    "lowered as a whole, and the case of names is ignored. `uniform` changed in DeepSpeed 0.10.1, the other\n"
                    "two in 0.12.5.\n\n"
                    "Example: shardlens partition /data/run --stages 4 --method parameters --dp 2\n"
                    "         shardlens partition --weights 400,52,69,86,400 --names Embed,Block,Block,Block,Embed \\\n"
                    "                             --stages 2 --method type:block");
    command->callback([arguments, &context] {
        if (const Status status = partition(*arguments, context); !status)
            context.exitCode = reportFailure(context.console, status.error(), arguments->json);
    });
}

} // namespace shardlens::cli
