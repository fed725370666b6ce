#include "core/convert/request.h"

#include "core/base/shell_text.h"

#include <fmt/format.h>
#include <xxhash.h>

#include <algorithm>
#include <array>

namespace shardlens {
namespace {

// Layouts hold all that their source has.
Select defaultOf(const std::optional<std::string>& to)
{
    constexpr std::array<std::string_view, 7> kLayouts{"deepspeed", "universal", "sdloader", "megatron", "torch-dist", "mindspore", "colossalai"};
    return to && std::find(kLayouts.begin(), kLayouts.end(), *to) != kLayouts.end() ? Select::All : Select::Weights;
}

template <typename Option>
void addQuantizeOptions(const QuantizeRequest& quantize, const Option& option)
{
    if (quantize.scheme)
        option("--quantize", *quantize.scheme);
    for (const auto& [name, patterns] : {std::pair{"--quantize-include", &quantize.include}, {"--quantize-exclude", &quantize.exclude}, {"--tensor-type", &quantize.tensorTypes}})
        for (const std::string& pattern : *patterns)
            option(name, pattern);
    if (quantize.groups)
        option("--groups", std::to_string(*quantize.groups));
    if (quantize.bits)
        option("--quantize-bits", std::to_string(*quantize.bits));
}

} // namespace

Select chosen(const ConvertRequest& request)
{
    return request.select.value_or(defaultOf(request.to));
}

std::string commandLineOf(const ConvertRequest& request)
{
    const ConvertRequest plain;
    std::string out = fmt::format("shardlens convert {} {}", pathArgument(request.source), pathArgument(request.target));
    const auto option = [&out](std::string_view name, const std::string& value) {
        out += fmt::format(" {}{}{}", name, value.starts_with('-') ? '=' : ' ', shellQuoted(value)); // a dash would start the next option
    };
    if (request.to)
        option("--to", *request.to);
    if (request.open.tag)
        option("--tag", *request.open.tag);
    if (request.select && *request.select != defaultOf(request.to))
        option("--select", nameOf(*request.select));
    if (request.dtype)
        option("--dtype", std::string(nameOf(*request.dtype)));
    if (request.open.dequantize)
        out += " --dequantize";
    addQuantizeOptions(request.quantize, option);
    if (request.quantize.keepNonFinite)
        option("--non-finite", "keep");
    if (!request.quantize.mlpExtraGrouping)
        out += " --no-mlp-extra-grouping";
    for (const std::string& pattern : request.include)
        option("--include", pattern);
    for (const std::string& pattern : request.exclude)
        option("--exclude", pattern);
    if (request.maxShardBytes)
        option("--max-shard-size", fmt::format("{}B", *request.maxShardBytes));
    if (request.memoryLimit != plain.memoryLimit)
        option("--memory-limit", fmt::format("{}B", request.memoryLimit));
    if (request.threads != plain.threads)
        option("--threads", std::to_string(request.threads));
    if (request.device != plain.device)
        option("--device", request.device);
    for (const auto& [name, text] : {std::pair{"--module-key", request.open.moduleKey}, {"--rules", request.open.rules}, {"--source-strategy", request.open.sourceStrategy},
                                     {"--strategy", request.strategy}, {"--prefix", request.prefix}, {"--output-format", request.outputFormat}})
        if (text)
            option(name, *text);
    for (const auto& [rank, path] : request.open.rankFiles)
        option("--rank-file", fmt::format("{}={}", rank, path));
    for (const auto& [name, size] : {std::pair{"--dp", request.dp}, {"--tp", request.tp}, {"--pp", request.pp}, {"--ep", request.ep}, {"--rank", request.rank}})
        if (size)
            option(name, std::to_string(*size));
    if (request.zeroStage)
        option("--zero-stage", std::to_string(*request.zeroStage));
    if (request.keepObjects)
        out += " --keep-objects";
    if (request.verify)
        out += " --verify";
    if (request.overwrite)
        out += " --overwrite";
    return out;
}

std::string jobHash(const ConvertRequest& request)
{
    const std::string text = requestToJson(request);
    return fmt::format("{:08x}", XXH32(text.data(), text.size(), 0));
}

} // namespace shardlens
