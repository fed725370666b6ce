#include "core/convert/plan_checks.h"

#include "core/base/text.h"
#include "core/format/format.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <unordered_set>

namespace shardlens {
namespace {

struct Extension {
    std::string_view ending;
    OutputKind kind;
};
constexpr std::array<Extension, 6> kExtensions{{{".safetensors", OutputKind::Safetensors},
                                                {".sft", OutputKind::Safetensors},
                                                {".pt", OutputKind::Torch},
                                                {".pth", OutputKind::Torch},
                                                {".bin", OutputKind::Torch},
                                                {".ckpt", OutputKind::Torch}}};
// DESIGN.md §7: what --to will know.
constexpr std::array<std::string_view, 1> kLaterFormats{"gguf"};

constexpr std::string_view kMindSpore = "mindspore";

std::optional<OutputKind> kindOfName(std::string_view target)
{
    while (target.size() > 1 && target.back() == '/')
        target.remove_suffix(1);
    for (const Extension& known : kExtensions)
        if (target.ends_with(known.ending))
            return known.kind;
    return std::nullopt;
}

// The ending of a name that promises one file of a kind that is not written; empty for others.
std::string_view foreignEnding(std::string_view target)
{
    constexpr std::array<std::string_view, 16> kEndings{".gguf", ".onnx", ".h5",  ".keras", ".npz",  ".npy", ".msgpack", ".pkl",
                                                        ".json", ".txt",  ".zip", ".tar",   ".nemo", ".pb",  ".tflite",  ".parquet"};
    for (const std::string_view ending : kEndings)
        if (target.ends_with(ending))
            return ending;
    return {};
}

std::optional<OutputKind> kindOfFormat(std::string_view id)
{
    for (const OutputKind kind : {OutputKind::Safetensors, OutputKind::Torch, OutputKind::Dcp})
        if (id == formatIdOf(kind))
            return kind;
    const Format* format = formatById(id);
    return format != nullptr && format->layOut != nullptr ? std::optional(OutputKind::Layout) : std::nullopt;
}

Error notWritten(const Checkpoint& source, const ConvertRequest& request)
{
    constexpr const char* kAdvice = "this version writes safetensors, torch, dcp, deepspeed, universal, sdloader, megatron, torch-dist, mindspore and colossalai: say which with --to";
    if (!request.to)
        return {ErrorCode::Refused, fmt::format("the source is {}, and writing that follows later; {}", printable(source.formatTitle()), kAdvice)};
    if (std::find(kLaterFormats.begin(), kLaterFormats.end(), *request.to) != kLaterFormats.end())
        return {ErrorCode::Refused, fmt::format("writing {} follows later; {}", *request.to, kAdvice)};
    return {ErrorCode::Refused, fmt::format("no format is named {}; {}", printable(*request.to), kAdvice)};
}

// MindSpore's files are alone in either container.
bool isOneFileOf(std::string_view format, std::string_view target)
{
    return format == kMindSpore && (target.ends_with(".ckpt") || target.ends_with(".safetensors") || target.ends_with(".sft"));
}

bool hasWord(std::string_view words, std::string_view word)
{
    while (!words.empty()) {
        const std::size_t end = std::min(words.find(' '), words.size());
        if (words.substr(0, end) == word)
            return true;
        words.remove_prefix(std::min(end + 1, words.size()));
    }
    return false;
}

// "ckpt or safetensors"
std::string wordsText(std::string words)
{
    for (std::size_t at = words.find(' '); at != std::string::npos; at = words.find(' ', at + 4))
        words.replace(at, 1, " or ");
    return words;
}

// "--to mindspore or --to colossalai": what an option is for.
std::string formatsWith(std::string_view option)
{
    std::string out;
    for (const Format& one : formats()) {
        const bool means = option == "--strategy" ? one.hasStrategy : option == "--prefix" ? one.hasPrefix : one.containers != nullptr;
        if (means)
            out += fmt::format("{}--to {}", out.empty() ? "" : " or ", one.id);
    }
    return out;
}

// Options that mean nothing for the output are refused: they would do nothing.
Status checkOptions(const ConvertRequest& request, const OutputChoice& choice)
{
    const Format* const format = formatById(choice.formatId);
    const char* const foreign = request.strategy && !format->hasStrategy           ? "--strategy"
                                : request.prefix && !format->hasPrefix              ? "--prefix"
                                : request.outputFormat && format->containers == nullptr ? "--output-format"
                                                                                        : nullptr;
    if (foreign != nullptr)
        return Error{ErrorCode::Refused, fmt::format("{} is for {}, and {} is written", foreign, formatsWith(foreign), choice.formatId)};
    if (request.outputFormat && !hasWord(format->containers, *request.outputFormat))
        return Error{ErrorCode::Refused, fmt::format("--output-format {}: {} is written as {}", *request.outputFormat, choice.formatId, wordsText(format->containers))};
    if (choice.kind != OutputKind::Layout) {
        if (choice.kind == OutputKind::Dcp && choice.isFile)
            return Error{ErrorCode::Refused, "dcp is a folder of files, and the target's name says one file"};
        if (choice.kind == OutputKind::Dcp && request.maxShardBytes)
            return Error{ErrorCode::Refused, "--max-shard-size means nothing for dcp: --dp says how many files there are"};
        const char* const sized = request.dp && choice.kind != OutputKind::Dcp ? "--dp"
                                  : request.tp        ? "--tp"
                                  : request.pp        ? "--pp"
                                  : request.ep        ? "--ep"
                                  : request.rank      ? "--rank"
                                  : request.zeroStage ? "--zero-stage"
                                                      : nullptr;
        if (sized != nullptr)
            return Error{ErrorCode::Refused, fmt::format("{} means nothing for {}{}", sized, choice.formatId, choice.kind == OutputKind::Dcp ? ": --dp is the number of its writers" : ", which has no ranks")};
        return {};
    }
    if (choice.isFile && !isOneFileOf(choice.formatId, request.target))
        return Error{ErrorCode::Refused, fmt::format("{} is a folder of files, and the target's name says one file", choice.formatId)};
    const char* const without = request.dtype && !format->layOutSelects                                                  ? "--dtype"
                                : (!request.include.empty() || !request.exclude.empty()) && !format->layOutSelects ? "--include and --exclude"
                                : request.maxShardBytes && !format->layOutShards                                    ? "--max-shard-size"
                                                                                                                     : nullptr;
    if (without != nullptr)
        return Error{ErrorCode::Refused, fmt::format("{} cannot be used with --to {}: it takes all of the source, as it is", without, choice.formatId)};
    return {};
}

std::string withoutStop(std::string sentence)
{
    if (!sentence.empty() && sentence.back() == '.')
        sentence.pop_back();
    return sentence;
}

} // namespace

const char* formatIdOf(OutputKind kind)
{
    switch (kind) {
    case OutputKind::Safetensors: return "safetensors";
    case OutputKind::Torch: return "torch";
    case OutputKind::Dcp: return "dcp";
    case OutputKind::Layout: break;
    }
    return "";
}

Result<OutputChoice> chooseOutput(const Checkpoint& source, const ConvertRequest& request)
{
    const std::optional<OutputKind> named = kindOfName(request.target);
    const bool isOwnFile = !request.to && request.target.ends_with(".ckpt") && source.formatId() == kMindSpore;
    const std::string own = request.strategy && !named ? std::string(kMindSpore) : source.formatId(); // a strategy means nothing else
    const std::optional<OutputKind> asked = request.to ? kindOfFormat(*request.to) : named && !isOwnFile ? named : kindOfFormat(own);
    if (!asked)
        return notWritten(source, request);
    const std::string format = request.to.value_or(own);
    if (named && *named != *asked && !(*asked == OutputKind::Layout && isOneFileOf(format, request.target)))
        return Error{ErrorCode::Refused, fmt::format("the target's name says {}, and --to says {}", formatIdOf(*named), printable(*request.to))};
    if (const std::string_view ending = foreignEnding(request.target); !named && !ending.empty())
        return Error{ErrorCode::Refused, fmt::format("the target's name ends in {}, and {} would be a folder of that name; leave the ending out", ending,
                                                     request.to ? printable(*request.to) : "the result")};
    if (named && request.maxShardBytes)
        return Error{ErrorCode::Refused, "--max-shard-size needs a folder as target, and its name says one file"};
    OutputChoice out{*asked, named.has_value(), request.to ? *request.to : *asked == OutputKind::Layout ? own : formatIdOf(*asked),
                     request.select.value_or(*asked == OutputKind::Layout ? Select::All : Select::Weights)};
    SHARDLENS_TRY(checkOptions(request, out));
    return out;
}

Status checkFindings(const Checkpoint& source, const OutputTensors& selected, const SelectionOptions& options)
{
    for (const std::size_t lost : selectLost(source, options))
        return Error{ErrorCode::Refused, fmt::format("{} (--exclude leaves it out)", withoutStop(source.lostTensors()[lost].problem))};
    std::unordered_set<std::size_t> touched;
    for (const OutputTensor& tensor : selected.tensors)
        touched.insert(indexOf(tensor.source));
    for (const Finding& finding : source.findings()) {
        const bool elsewhere = finding.tensor != kNoTensor && !touched.contains(indexOf(finding.tensor));
        if (finding.severity != Severity::Error || elsewhere || finding.lost)
            continue;
        return Error{ErrorCode::Refused, withoutStop(finding.text)};
    }
    return {};
}

Status checkDTypes(const Checkpoint& source, const OutputTensors& selected, OutputKind kind)
{
    for (const OutputTensor& tensor : selected.tensors) {
        const DTypeInfo& dtype = info(tensor.dtype);
        if (source.tensor(tensor.source).sparsePart)
            return Error{ErrorCode::Refused, fmt::format("{} is a part of a sparse tensor, which {} cannot hold; leave it out with --exclude{}", printable(tensor.name), formatIdOf(kind),
                                                         kind == OutputKind::Torch ? ", or keep the whole tree with --select all" : "")};
        const bool known = kind == OutputKind::Safetensors ? dtype.inSafetensors : !dtype.torchName.empty() && dtype.kind != DTypeKind::Quantized;
        if (known)
            continue;
        const std::string torchName = dtype.torchName.empty() ? std::string{} : fmt::format(" ({})", dtype.torchName);
        return Error{ErrorCode::Refused, fmt::format("{} is {}{}, which {} cannot hold; leave it out with --exclude", printable(tensor.name), dtype.name,
                                                     torchName, formatIdOf(kind))};
    }
    return {};
}

} // namespace shardlens
