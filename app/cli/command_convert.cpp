#include "app/cli/conversion.h"

#include "core/base/text.h"
#include "core/compute/devices.h"

#include <CLI/CLI.hpp>

#include <memory>

namespace shardlens::cli {
namespace {

struct ConvertArguments {
    ConvertRequest request;
    ConversionOptions options;
    SelectionArguments selection;
    std::string dtype;
    std::string maxShard;
    std::string memoryLimit;
    std::string nonFinite;
};

// A size with a unit, as people write it.
std::string checkSize(const std::string& text)
{
    return parseSize(text) != 0 ? std::string{} : text + " is no size; write a number with a unit, such as 512MiB or 5GB";
}

// "bf16" is what people type.
std::string upperCase(std::string text)
{
    for (char& c : text)
        c = c >= 'a' && c <= 'z' ? static_cast<char>(c - 'a' + 'A') : c;
    return text;
}

std::string checkDType(const std::string& text)
{
    return dtypeByName(upperCase(text)) ? std::string{} : text + " is no dtype; write F32, F16 or BF16";
}

std::string checkDevice(const std::string& text)
{
    return isDeviceText(text) ? std::string{} : text + " is no device; write cpu, auto, cuda:0 or cuda:0,cuda:1";
}

ConvertRequest requestOf(const ConvertArguments& arguments)
{
    ConvertRequest out = arguments.request;
    if (!arguments.selection.select.empty())
        out.select = selectByName(arguments.selection.select); // the names were checked while parsing
    out.include = arguments.selection.include;
    out.exclude = arguments.selection.exclude;
    if (!arguments.dtype.empty())
        out.dtype = dtypeByName(upperCase(arguments.dtype));
    out.quantize.keepNonFinite = arguments.nonFinite == "keep";
    if (!arguments.maxShard.empty())
        out.maxShardBytes = parseSize(arguments.maxShard);
    if (!arguments.memoryLimit.empty())
        out.memoryLimit = parseSize(arguments.memoryLimit);
    return out;
}

void addQuantizeOptions(CLI::App& command, ConvertArguments& arguments)
{
    QuantizeRequest& quantize = arguments.request.quantize;
    command.add_option("--quantize", quantize.scheme, "Quantize the weights of Linear layers: int8-channel, int4-g128, fp8-channel, nf4 … (`shardlens formats` lists the schemes)")->type_name("SCHEME");
    const auto addPatterns = [&command](const char* name, std::vector<std::string>& into, const char* what, const char* type) {
        command.add_option(name, into, what)->type_name(type)->allow_extra_args(false);
    };
    addPatterns("--quantize-include", quantize.include, "Quantize tensors in whose name it is found, instead of those of Linear layers; may be repeated", "RE");
    addPatterns("--quantize-exclude", quantize.exclude, "Leave tensors as they are in whose name it is found; may be repeated", "RE");
    addPatterns("--tensor-type", quantize.tensorTypes, "Another scheme for tensors in whose name it is found; may be repeated, the first that matches counts", "RE=SCHEME");
    command.add_option("--groups,--quantize-groups", quantize.groups, "deepspeed-int8, sdloader-int8: scales a tensor (default: 64)")->type_name("N")->check(CLI::Range(std::uint64_t{1}, std::uint64_t{1} << 40));
    command.add_option("--quantize-bits", quantize.bits, "sdloader-int8: bits a value, stored as 8 (default: 8)")->type_name("N")->check(CLI::Range(2, 8));
    command.add_flag_callback("--no-mlp-extra-grouping", [&quantize] { quantize.mlpExtraGrouping = false; }, "sdloader-int8: no doubled groups for what looks like an MLP weight");
    command.add_option("--non-finite", arguments.nonFinite, "A weight with a NaN or an infinity: refuse, or keep it as it is (default: refuse)")->type_name("WHAT")->check(CLI::IsMember({"refuse", "keep"}));
}

void addRequestOptions(CLI::App& command, ConvertArguments& arguments)
{
    ConvertRequest& request = arguments.request;
    command.add_option("SRC", request.source, "A checkpoint: its root folder, its tag's folder, or one file")->required();
    command.add_option("DST", request.target, "A new folder, or one file where the name ends in .safetensors .sft .pt .pth .bin .ckpt")->required();
    command.add_option("--to", request.to, "safetensors, torch, dcp, deepspeed, universal, sdloader, megatron, torch-dist, mindspore or colossalai (default: what DST's name says, else the source's format)")->type_name("FORMAT");
    addOpenArguments(command, request.open);
    addSelectionArguments(command, arguments.selection);
    command.add_option("--dtype", arguments.dtype, "Cast floating-point tensors: F32, F16 or BF16")->type_name("T")->check(checkDType);
    addQuantizeOptions(command, arguments);
    command.add_option("--dp", request.dp, "Data-parallel ranks of the target, for --to deepspeed (default: the source's); writers of --to dcp and torch-dist (default: 1)")->type_name("N")->check(CLI::Range(1, 65536));
    const auto addSize = [&command](const char* name, std::optional<std::uint32_t>& into, const char* what) {
        command.add_option(name, into, what)->type_name("N")->check(CLI::Range(1, 65536));
    };
    addSize("--tp", request.tp, "Tensor-parallel ranks of the target (default: the source's)");
    addSize("--pp", request.pp, "Pipeline stages of the target (default: the source's)");
    addSize("--ep", request.ep, "Expert-parallel ranks of the target (default: the source's)");
    command.add_option("--rank", request.rank, "Write only the files of that rank of the target")->type_name("N")->check(CLI::Range(0, 1 << 30));
    command.add_option("--zero-stage", request.zeroStage, "ZeRO stage of the target: 1, 2 or 3 (default: the source's)")->type_name("S")->check(CLI::Range(1, 3));
    command.add_option("--strategy", request.strategy, "MindSpore: the strategy file of the target, or the folder of its stages' files (default: the whole model in one file)")
        ->type_name("FILE");
    command.add_option("--prefix", request.prefix, "What the names of files begin with. MindSpore: net_rank_ gives net_rank_0.ckpt (default: the source's); ColossalAI: step_20 gives model.step_20-…")->type_name("P");
    command.add_option("--output-format", request.outputFormat, "Container of the files. MindSpore: ckpt or safetensors (without any strategy the ranks stay as they are); ColossalAI: bin or safetensors (default: the source's)")
        ->type_name("FORMAT")
        ->check(CLI::IsMember({"ckpt", "safetensors", "bin"}));
    command.add_flag("--keep-objects", request.keepObjects, "Write objects of unknown classes too, where pickles are written");
    command.add_option("--max-shard-size", arguments.maxShard, "Largest file of a folder (default: 5GB)")->type_name("SIZE")->check(checkSize);
    command.add_option("--memory-limit", arguments.memoryLimit, "Memory to work in (default: 256MiB)")->type_name("SIZE")->check(checkSize);
    addThreadsOption(command, request.threads);
    command.add_option("--device", request.device, "Where weights are quantized: cpu, cuda:N, several of these with commas, or auto (`shardlens devices` lists them)")->type_name("DEVICE")->check(checkDevice);
    command.add_flag("--verify", request.verify, "Read the result back and compare it with the source before it gets its name");
    command.add_flag("--overwrite", request.overwrite, "Replace DST if it is a checkpoint or a model file");
}

} // namespace

void addConvertCommand(CLI::App& program, CommandContext& context)
{
    const auto arguments = std::make_shared<ConvertArguments>();
    CLI::App* command = program.add_subcommand("convert", "Write a checkpoint in another format, precision or number of files");
    addRequestOptions(*command, *arguments);
    addConversionOptions(*command, arguments->options);
    command->footer("DST appears when it is whole: a job that is cancelled, killed or fails leaves nothing under its name.\n\n"
                    "Example: shardlens convert /data/run /data/model --to safetensors --dtype BF16 --verify\n"
                    "         shardlens convert /data/model /data/model-int4 --quantize int4-g128\n"
                    "         shardlens convert /data/run /data/run-on-6 --to deepspeed --dp 6\n"
                    "         shardlens convert /data/ms /data/ms-4 --source-strategy src.ckpt --strategy dst.ckpt\n"
                    "         shardlens convert /data/ms /data/ms.ckpt --source-strategy src.ckpt --rank-file 3=/spare/net_rank_3.ckpt");
    command->callback([arguments, &context] { context.exitCode = runConversion(requestOf(*arguments), arguments->options, context); });
}

} // namespace shardlens::cli
