#include "core/convert/plan_quantize.h"

#include "core/base/text.h"
#include "core/compute/device_engine.h"
#include "core/format/format.h"
#include "core/convert/plan_lines.h"
#include "core/convert/plan_stored.h"
#include "core/convert/plan_tensors.h"
#include "core/quantized/quantized_config.h"
#include "core/quantized/quantized_view.h"
#include "core/quantized/quantized_weight.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>

namespace shardlens {
namespace {

constexpr std::uint64_t kMostUnitBytes = 8u << 20;
constexpr std::uint64_t kLeastUnitBytes = 256u << 10;
constexpr std::uint64_t kUnitShare = 8; // of what the memory limit leaves a thread

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

std::vector<std::string> namesOf(const Checkpoint& source, const std::set<TensorId>& tensors)
{
    std::vector<std::string> names;
    for (const TensorId tensor : tensors)
        names.push_back(source.parameterOf(tensor));
    return names;
}

// Of modules that are left as they are: who is told of them.
std::string leftText(const QuantizeChoice& choice, const OutputChoice& output)
{
    const std::string modules = plural(choice.leftModules, "Linear module", "Linear modules");
    const bool hasConfig = !output.isFile && output.kind != OutputKind::Dcp;
    const bool isCompressed = choice.weights.front().layout.scheme().family == QuantFamily::CompressedTensors;
    return hasConfig && isCompressed ? modules + ", which config.json says to servers." : modules + ".";
}

// GPT-2's layers are no Linear: their weights are [in, out]. Told by c_attn, which makes three of one.
std::size_t transposedWeights(const Checkpoint& source, const QuantizeChoice& choice)
{
    const auto isOf = [](const std::string& name, std::string_view module) { return name.ends_with(fmt::format(".{}.weight", module)); };
    const auto makesThree = [&](const ChosenWeight& weight) {
        const Shape& shape = source.tensor(weight.tensor).shape;
        return isOf(weight.name, "c_attn") && shape[1] == 3 * shape[0];
    };
    if (std::none_of(choice.weights.begin(), choice.weights.end(), makesThree))
        return 0;
    return static_cast<std::size_t>(std::count_if(choice.weights.begin(), choice.weights.end(), [&](const ChosenWeight& weight) { return isOf(weight.name, "c_attn") || isOf(weight.name, "c_proj") || isOf(weight.name, "c_fc"); }));
}

// Projections of which some are quantized and some are left, or in another scheme: "q_proj, k_proj of model.layers.0.self_attn".
std::vector<std::string> partedProjections(const QuantizeChoice& choice)
{
    struct Family {
        std::set<const QuantScheme*> schemes;
        std::vector<std::string> names;
        std::size_t left = 0;
    };
    std::map<std::string, Family> families;
    for (const ChosenWeight& weight : choice.weights)
        if (const std::string family = fusedFamilyOf(weight.name); !family.empty()) {
            families[family].schemes.insert(&weight.layout.scheme());
            families[family].names.push_back(weight.name);
        }
    for (const std::string& module : choice.ignored)
        if (const auto at = families.find(fusedFamilyOf(module + std::string(kWeightSuffix))); at != families.end()) {
            ++at->second.left;
            at->second.names.push_back(module + std::string(kWeightSuffix));
        }
    std::vector<std::string> out;
    for (const auto& [key, family] : families)
        if (family.left != 0 || family.schemes.size() > 1) {
            std::string text;
            for (const std::string& name : family.names)
                text += (text.empty() ? "" : " + ") + name;
            out.push_back(std::move(text));
        }
    return out;
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
    if (const std::size_t transposed = transposedWeights(source, choice); transposed != 0)
        lines.push_back({PlanLine::Kind::Warning, "No Linear layers", fmt::format("{} of GPT-2's Conv1D: rows and columns are the other way round, and servers look for codes in Linear layers.", plural(transposed, "quantized weight is", "quantized weights are"))});
    if (const std::vector<std::string> parted = partedProjections(choice); !parted.empty())
        lines.push_back({PlanLine::Kind::Warning, "Fused projections", fmt::format("Servers make one of {}, and want one scheme for all: choose all of them or none.", listed(parted))});
    if (choice.leftModules > 0)
        lines.push_back({PlanLine::Kind::Kept, "Left as they are", leftText(choice, output)});
    if (!options.left.empty())
        lines.push_back({PlanLine::Kind::Warning, "Not finite", fmt::format("Left as they are, for they hold NaN or infinities: {}.", listed(namesOf(source, options.left)))});
    if (!choice.integers.empty())
        lines.push_back({PlanLine::Kind::Info, "Integers", fmt::format("{} that the patterns match hold no floating-point values, and stay as they are.", plural(choice.integers.size(), "tensor", "tensors"))});
}

// A pattern that was to keep something as it is, and finds nothing, may be a slip of the pen.
void addUnmatched(const Checkpoint& source, const QuantizeOptions& options, const QuantizeRequest& asked, std::vector<PlanLine>& lines)
{
    for (std::size_t i = 0; i < options.exclude.size(); ++i) {
        const Regex& pattern = options.exclude[i];
        const bool found = std::any_of(source.parameters().begin(), source.parameters().end(), [&](const std::string& name) { return pattern.search(name); }) ||
                           std::any_of(source.aliases().begin(), source.aliases().end(), [&](const Alias& alias) { return pattern.search(alias.name); });
        if (!found)
            lines.push_back({PlanLine::Kind::Warning, "Patterns", fmt::format("--quantize-exclude {} is in no name.", printable(asked.exclude[i]))});
    }
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
    return quantizedConfigText(choice, options, text.value_or(""));
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
    addUnmatched(*source, options, request.quantize, out.lines);
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
    if (asked.scheme == kSdloaderInt8)
        out.lines.push_back({PlanLine::Kind::Info, "Precision", "What sdloader-int8 loses is not measured before it is written: `shardlens diff --dequantize-b` tells."});
    SHARDLENS_ASSIGN(out.config, ownConfig(source, request, choice, out.lines));
    return out;
}

} // namespace shardlens
