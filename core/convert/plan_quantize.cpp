#include "core/convert/plan_quantize.h"

#include "core/base/text.h"
#include "core/compute/device_engine.h"
#include "core/format/format.h"
#include "core/convert/plan_tensors.h"
#include "core/quantized/quantized_config.h"
#include "core/quantized/quantized_view.h"
#include "core/quantized/quantized_weight.h"
#include "core/quantized/source_quantization.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>

namespace shardlens {
namespace {

constexpr std::uint64_t kMostUnitBytes = 8u << 20;
constexpr std::uint64_t kLeastUnitBytes = 256u << 10;
constexpr std::uint64_t kUnitShare = 8; // of what the memory limit leaves a thread
constexpr std::size_t kMostKept = 12; // names in one line
constexpr const char* kNoConfigInFile = "One file holds no config.json: loaders need its quantization_config. A folder as target has it.";

Result<const QuantScheme*> schemeOf(std::string_view name)
{
    const QuantScheme* const scheme = quantSchemeByName(name);
    if (scheme == nullptr)
        return Error{ErrorCode::Refused, unknownSchemeText(name)};
    if (scheme->name == kSdloaderInt8)
        return Error{ErrorCode::Refused, "sdloader-int8 is for --to sdloader: what MegatronSDLoader makes of rank files; deepspeed-int8 is the same arithmetic for other targets"};
    return scheme;
}

Result<std::pair<Regex, const QuantScheme*>> tensorType(const std::string& text)
{
    const std::size_t at = text.rfind('=');
    if (at == std::string::npos || at == 0)
        return Error{ErrorCode::Refused, fmt::format("--tensor-type {}: RE=SCHEME is needed", printable(text))};
    auto pattern = Regex::compile(text.substr(0, at));
    if (!pattern)
        return pattern.takeError().within(fmt::format("--tensor-type {}", printable(text)));
    SHARDLENS_ASSIGN(const QuantScheme* scheme, schemeOf(std::string_view(text).substr(at + 1)));
    return std::pair(pattern.take(), scheme);
}

Result<QuantizeOptions> optionsOf(const ConvertRequest& request, Select select)
{
    QuantizeOptions out;
    const QuantizeRequest& asked = request.quantize;
    if (asked.scheme) {
        SHARDLENS_ASSIGN(out.scheme, schemeOf(*asked.scheme));
    }
    for (const std::string& text : asked.tensorTypes) {
        SHARDLENS_ASSIGN(auto type, tensorType(text));
        out.overrides.push_back(std::move(type));
    }
    SHARDLENS_TRY(compilePatterns(asked.include, "--quantize-include", out.include));
    SHARDLENS_TRY(compilePatterns(asked.exclude, "--quantize-exclude", out.exclude));
    out.parameters.pieces = asked.groups.value_or(kDefaultQuantGroups);
    out.dtype = request.dtype;
    out.select = select;
    const std::uint64_t threads = std::max<std::uint64_t>(request.threads, 1);
    out.mostBytes = std::clamp(request.memoryLimit / threads / kUnitShare, kLeastUnitBytes, kMostUnitBytes);
    out.engine = deviceEngine(request.device);
    return out;
}

Status checkRequest(const ConvertRequest& request, const OutputChoice& choice)
{
    const QuantizeRequest& asked = request.quantize;
    const bool ofDeepSpeed = asked.scheme && (*asked.scheme == "deepspeed-int8" || *asked.scheme == kSdloaderInt8);
    const bool someOfDeepSpeed = std::any_of(asked.tensorTypes.begin(), asked.tensorTypes.end(), [](const std::string& text) { return text.ends_with("=deepspeed-int8"); });
    if (asked.groups && !ofDeepSpeed && !someOfDeepSpeed)
        return Error{ErrorCode::Refused, "--groups is for deepspeed-int8 and sdloader-int8: the groups of other schemes are in their names"};
    if ((asked.bits || !asked.mlpExtraGrouping) && asked.scheme != kSdloaderInt8)
        return Error{ErrorCode::Refused, fmt::format("{} is for sdloader-int8", asked.bits ? "--quantize-bits" : "--no-mlp-extra-grouping")};
    if (choice.kind == OutputKind::Layout && asked.scheme != kSdloaderInt8)
        return Error{ErrorCode::Refused, fmt::format("--quantize makes tensors that {} has no place for; quantize to safetensors, torch or dcp", choice.formatId)};
    if (choice.select == Select::All || choice.select == Select::Optimizer)
        return Error{ErrorCode::Refused, fmt::format("--quantize is for weights, and --select says {}", nameOf(choice.select))};
    return {};
}

Status checkChoice(const QuantizeChoice& choice, const QuantizeRequest& asked)
{
    for (std::size_t i = 0; i < choice.overridden.size(); ++i)
        if (choice.overridden[i] == 0)
            return Error{ErrorCode::Refused, fmt::format("--tensor-type {} takes nothing: no matrix of floating-point values has a name that it, and none before it, matches", printable(asked.tensorTypes[i]))};
    for (const ChosenWeight& weight : choice.weights) {
        const QuantScheme& one = choice.weights.front().layout.scheme();
        if (weight.layout.scheme().family == QuantFamily::BitsAndBytes && &weight.layout.scheme() != &one && one.family == QuantFamily::BitsAndBytes)
            return Error{ErrorCode::Refused, fmt::format("{} and {}: bitsandbytes reads a model in one scheme", one.name, weight.layout.scheme().name)};
        if (weight.layout.scheme().family != one.family)
            return Error{ErrorCode::Refused, fmt::format("{} and {} are of two libraries, and one loader reads a model: choose schemes of one", one.name, weight.layout.scheme().name)};
    }
    return {};
}

// The weights that hold a NaN or an infinity, read through once.
Status leaveNonFinite(const CheckpointPtr& source, const QuantizeChoice& choice, QuantizeOptions& options, JobContext& job)
{
    const auto values = std::make_shared<const ValueReader>(source);
    for (const ChosenWeight& weight : choice.weights) {
        const WholeRange range(weight.layout, {values, weight.tensor, weight.name, weight.layout.dtype()});
        const auto found = range.get({job.stopToken(), {}});
        if (!found && found.error().code() != ErrorCode::Refused)
            return Error{found.error()};
        if (!found)
            options.left.insert(weight.tensor);
    }
    return {};
}

std::string namesText(const std::vector<std::string>& names)
{
    std::string out;
    for (std::size_t i = 0; i < std::min(names.size(), kMostKept); ++i)
        out += (out.empty() ? "" : ", ") + names[i];
    return names.size() > kMostKept ? fmt::format("{} and {} more", out, names.size() - kMostKept) : out;
}

std::string namesText(const Checkpoint& source, const std::set<TensorId>& tensors)
{
    std::vector<std::string> names;
    for (const TensorId tensor : tensors)
        names.push_back(printable(source.parameterOf(tensor)));
    return namesText(names);
}

// Of modules that are left as they are: who is told of them.
std::string leftText(const QuantizeChoice& choice, const OutputChoice& output)
{
    const std::string modules = plural(choice.leftModules, "Linear module", "Linear modules");
    const bool hasConfig = !output.isFile && output.kind != OutputKind::Dcp;
    const bool isCompressed = choice.weights.front().layout.scheme().family == QuantFamily::CompressedTensors;
    return hasConfig && isCompressed ? modules + ", which config.json says to servers." : modules + ".";
}

void addLines(const Checkpoint& source, const QuantizeChoice& choice, const QuantizeOptions& options, const OutputChoice& output, std::vector<PlanLine>& lines)
{
    struct Sum {
        std::uint64_t weights = 0;
        std::uint64_t before = 0;
        std::uint64_t after = 0;
    };
    std::map<const QuantScheme*, Sum> sums;
    for (const ChosenWeight& weight : choice.weights) {
        Sum& sum = sums[&weight.layout.scheme()];
        ++sum.weights;
        sum.before += source.bytesOf(weight.tensor);
        for (const QuantPart& part : weight.layout.parts())
            sum.after += part.sizeBytes();
    }
    for (const auto& [scheme, sum] : sums)
        lines.push_back({PlanLine::Kind::Cast, "Quantized", fmt::format("{} to {} ({}): {} become {}.", plural(sum.weights, "weight", "weights"), scheme->name, scheme->title, sizeText(sum.before), sizeText(sum.after))});
    const auto others = std::count_if(choice.weights.begin(), choice.weights.end(), [](const ChosenWeight& weight) { return isOtherWeightName(weight.name); });
    if (others != 0)
        lines.push_back({PlanLine::Kind::Warning, "No Linear layers", fmt::format("By their names {} of embeddings or norms: servers look for codes in Linear layers alone, and may not load them.", plural(static_cast<std::uint64_t>(others), "quantized weight is", "quantized weights are"))});
    if (choice.leftModules > 0)
        lines.push_back({PlanLine::Kind::Kept, "Left as they are", leftText(choice, output)});
    if (!options.left.empty())
        lines.push_back({PlanLine::Kind::Warning, "Not finite", fmt::format("Left as they are, for they hold NaN or infinities: {}.", namesText(source, options.left))});
    if (!choice.integers.empty())
        lines.push_back({PlanLine::Kind::Info, "Integers", fmt::format("{} that the patterns match hold no floating-point values, and stay as they are.", plural(choice.integers.size(), "tensor", "tensors"))});
}

void addConfigLine(bool hasSource, bool isFile, std::vector<PlanLine>& lines)
{
    if (isFile)
        lines.push_back({PlanLine::Kind::Warning, "config.json", kNoConfigInFile});
    else if (!hasSource)
        lines.push_back({PlanLine::Kind::Warning, "config.json", "The source has none: the one that is written holds quantization_config alone, and belongs into the model's."});
}

Result<std::string> configText(const CheckpointPtr& source, const QuantizeChoice& choice, const QuantizeOptions& options, bool isFile, std::vector<PlanLine>& lines)
{
    SHARDLENS_ASSIGN(const std::optional<std::string> text, readConfigText(*source));
    addConfigLine(text.has_value(), isFile, lines);
    if (isFile)
        return std::string();
    return quantizedConfigText(choice, options.parameters, text.value_or(""));
}

// The loader's own choice of weights.
Status checkSdloader(const ConvertRequest& request)
{
    const QuantizeRequest& asked = request.quantize;
    const char* const foreign = !asked.include.empty() ? "--quantize-include" : !asked.exclude.empty() ? "--quantize-exclude" : !asked.tensorTypes.empty() ? "--tensor-type" : asked.keepNonFinite ? "--non-finite keep" : nullptr;
    if (foreign != nullptr)
        return Error{ErrorCode::Refused, fmt::format("{} cannot be used with sdloader-int8: the loader quantizes the four weights of each layer", foreign)};
    return {};
}

// --include and --exclude choose among the weights, under any of their names, not among the parts that are made of them.
Status selectByPatterns(const Checkpoint& source, const ConvertRequest& request, QuantizeOptions& options)
{
    if (request.include.empty() && request.exclude.empty())
        return {};
    SHARDLENS_ASSIGN(SelectionOptions selection, selectionOf(request));
    selection.partsPass = false;
    options.only.emplace();
    for (const SelectedTensor& selected : selectTensors(source, selection))
        options.only->insert(selected.tensor);
    return {};
}

Result<QuantizePlan> quantized(const CheckpointPtr& source, const ConvertRequest& request, const OutputChoice& output, JobContext& job)
{
    QuantizePlan out;
    SHARDLENS_ASSIGN(QuantizeOptions options, optionsOf(request, output.select));
    SHARDLENS_TRY(checkRequest(request, output));
    SHARDLENS_TRY(selectByPatterns(*source, request, options));
    SHARDLENS_ASSIGN(QuantizeChoice choice, chooseWeights(*source, options));
    SHARDLENS_TRY(checkChoice(choice, request.quantize));
    if (request.quantize.keepNonFinite) {
        SHARDLENS_TRY(leaveNonFinite(source, choice, options, job));
        SHARDLENS_ASSIGN(choice, chooseWeights(*source, options));
    }
    addLines(*source, choice, options, output, out.lines);
    out.engine = options.engine;
    if (out.engine)
        out.lines.push_back({PlanLine::Kind::Info, "Device", fmt::format("Quantized on {}, with the processor's bits; it reads, packs and writes.", request.device == "auto" ? "the CUDA devices that libtorch finds" : printable(request.device))});
    const auto weights = quantizedWeights(source, choice, options);
    SHARDLENS_ASSIGN(out.source, quantizedView(source, choice, options, weights));
    for (std::size_t i = 0; i < weights.size(); ++i)
        out.lossy.push_back({choice.weights[i].name, source, choice.weights[i].tensor, weights[i]->dtype(), weights[i]});
    if (output.kind == OutputKind::Dcp)
        out.lines.push_back({PlanLine::Kind::Info, "config.json", "A DCP directory has none: what the scales mean is in the names and shapes alone."});
    if (output.kind != OutputKind::Dcp) {
        SHARDLENS_ASSIGN(out.config, configText(source, choice, options, output.isFile, out.lines));
    }
    return out;
}

// Of a source that is not quantized now: its config.json where its weights are quantized, the same without quantization_config where they are dequantized.
Status addOwnConfig(const CheckpointPtr& source, const ConvertRequest& request, const OutputChoice& choice, QuantizePlan& out)
{
    const bool stored = std::any_of(source->tensors().begin(), source->tensors().end(), [](const Tensor& tensor) { return tensor.quantizedPart; });
    const bool isHuggingFace = choice.kind == OutputKind::Safetensors || choice.kind == OutputKind::Torch;
    if (!isHuggingFace || !(stored || request.open.dequantize))
        return {};
    SHARDLENS_ASSIGN(const std::optional<std::string> text, readConfigText(*source));
    if (!text)
        return {};
    if (choice.isFile) {
        if (stored)
            out.lines.push_back({PlanLine::Kind::Warning, "config.json", kNoConfigInFile});
        return {};
    }
    if (stored) {
        out.config = *text;
        out.lines.push_back({PlanLine::Kind::Kept, "config.json", "Copied as it is: it says how the codes are to be read."});
        return {};
    }
    SHARDLENS_ASSIGN(out.config, plainConfigText(*text)); // a loader that still found quantization_config in it would look for codes
    return {};
}

// Which dtypes the values have that codes stand for.
void addDequantizedLine(const Checkpoint& source, std::vector<PlanLine>& lines)
{
    std::map<DType, std::uint64_t> weights;
    for (std::size_t i = 0; i < source.tensors().size(); ++i) {
        const auto id = idAt<TensorId>(i);
        const PieceStore& pieces = source.pieces();
        const bool isComputed = pieces.countOf(id) != 0 && source.stream(pieces.at(idAt<PieceId>(pieces.firstOf(id))).source.stream).kind == Stream::Kind::Computed;
        weights[source.tensor(id).dtype] += isComputed ? 1 : 0;
    }
    std::string text;
    for (const auto& [dtype, count] : weights)
        if (count != 0)
            text += fmt::format("{}{} as {}", text.empty() ? "" : ", ", plural(count, "weight", "weights"), nameOf(dtype));
    if (!text.empty())
        lines.push_back({PlanLine::Kind::Cast, "Dequantized", fmt::format("{}, as the schemes give them back; --dtype casts.", text)});
}

} // namespace

Result<QuantizePlan> planQuantization(const CheckpointPtr& source, const ConvertRequest& request, const OutputChoice& choice, JobContext& job)
{
    const QuantizeRequest& asked = request.quantize;
    if (asked.scheme == kSdloaderInt8 && formatById(choice.formatId)->layOutQuantizes)
        SHARDLENS_TRY(checkSdloader(request));
    else if (asked.isAsked())
        return quantized(source, request, choice, job);
    const char* const alone = asked.isAsked() ? nullptr : !asked.include.empty() ? "--quantize-include" : !asked.exclude.empty() ? "--quantize-exclude" : asked.groups ? "--groups" : asked.bits ? "--quantize-bits" : !asked.mlpExtraGrouping ? "--no-mlp-extra-grouping" : asked.keepNonFinite ? "--non-finite" : nullptr;
    if (alone != nullptr)
        return Error{ErrorCode::Refused, fmt::format("{} means nothing without --quantize", alone)};
    QuantizePlan out{source, {}, {}, nullptr, {}};
    if (request.open.dequantize)
        addDequantizedLine(*source, out.lines);
    SHARDLENS_TRY(addOwnConfig(source, request, choice, out));
    return out;
}

void addStoredLines(Plan& plan)
{
    std::set<TensorId> taken;
    for (const PlannedResult& result : plan.results)
        if (plan.source->tensor(result.source).quantizedPart)
            taken.insert(result.source);
    if (taken.empty() || plan.request.quantize.isAsked())
        return;
    std::vector<std::string> parted;
    std::set<TensorId> without = taken; // whose scales are no tensors
    std::size_t whole = 0;
    for (const StoredWeight& weight : findStoredWeights(*plan.source, readQuantizationConfig(*plan.source))) {
        const auto missing = std::find_if(weight.parts.begin(), weight.parts.end(), [&](TensorId part) { return !taken.contains(part); });
        const bool any = std::any_of(weight.parts.begin(), weight.parts.end(), [&](TensorId part) { return taken.contains(part); });
        if (any && missing != weight.parts.end())
            parted.push_back(fmt::format("{} (without {})", printable(weight.name), printable(plan.source->parameterOf(*missing))));
        whole += any ? 1 : 0;
        for (const TensorId part : weight.parts)
            without.erase(part);
    }
    if (!without.empty() && plan.formatId != plan.source->formatId())
        plan.lines.push_back({PlanLine::Kind::Warning, "Quantized weights", fmt::format("The codes of {} are written without their scales, which lie beside the model in the source: --dequantize writes values.", plural(without.size(), "quantized weight", "quantized weights"))});
    const Format* const format = formatById(plan.formatId);
    if (format != nullptr && format->layOut != nullptr && whole != 0)
        plan.lines.push_back({PlanLine::Kind::Warning, "Quantized weights", fmt::format("The codes and scales of {} are written as tensors of their own, and {} has no place for scales: --dequantize writes values.", plural(whole, "quantized weight", "quantized weights"), format->title)});
    if (!parted.empty())
        plan.lines.push_back({PlanLine::Kind::Warning, "Quantized weights", fmt::format("--include and --exclude part {} from what belongs to {}: {}.", plural(parted.size(), "quantized weight", "quantized weights"), parted.size() == 1 ? "it" : "them", namesText(parted))});
}

} // namespace shardlens
