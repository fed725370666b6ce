#include "core/convert/plan_stored.h"

#include "core/base/text.h"
#include "core/convert/plan_lines.h"
#include "core/format/format.h"
#include "core/quantized/quantized_config.h"
#include "core/quantized/source_quantization.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <optional>
#include <set>

namespace shardlens {
namespace {

// Which dtypes the values have that codes stand for.
void addDequantizedLine(Plan& plan)
{
    std::map<DType, std::set<TensorId>> weights;
    const PieceStore& pieces = plan.source->pieces();
    for (const PlannedResult& result : plan.results)
        if (pieces.countOf(result.source) != 0 && plan.source->stream(pieces.at(idAt<PieceId>(pieces.firstOf(result.source))).source.stream).kind == Stream::Kind::Computed)
            weights[plan.source->tensor(result.source).dtype].insert(result.source);
    std::string text;
    for (const auto& [dtype, tensors] : weights)
        text += fmt::format("{}{} as {}", text.empty() ? "" : ", ", plural(tensors.size(), "weight", "weights"), nameOf(dtype));
    if (!text.empty() && !plan.request.quantize.isAsked())
        plan.lines.insert(plan.lines.begin(), {PlanLine::Kind::Cast, "Dequantized", fmt::format("{}, as the schemes give them back; --dtype casts.", text)});
}

} // namespace

Result<std::string> ownConfig(const CheckpointPtr& source, const ConvertRequest& request, const OutputChoice& choice, std::vector<PlanLine>& lines)
{
    const bool stored = std::any_of(source->tensors().begin(), source->tensors().end(), [](const Tensor& tensor) { return tensor.quantizedPart; });
    const bool isHuggingFace = choice.kind == OutputKind::Safetensors || choice.kind == OutputKind::Torch;
    if (!isHuggingFace || !(stored || request.open.dequantize))
        return std::string();
    SHARDLENS_ASSIGN(const std::optional<std::string> text, readConfigText(*source));
    if (!text)
        return std::string();
    if (choice.isFile) {
        if (stored)
            lines.push_back({PlanLine::Kind::Warning, "config.json", kNoConfigInFile});
        return std::string();
    }
    if (stored) {
        lines.push_back({PlanLine::Kind::Kept, "config.json", "Copied as it is: it says how the codes are to be read."});
        return *text;
    }
    return plainConfigText(*text, request.dtype); // a loader that still found quantization_config in it would look for codes
}

Status addStoredLines(Plan& plan)
{
    if (plan.request.open.dequantize)
        addDequantizedLine(plan);
    std::set<TensorId> taken;
    for (const PlannedResult& result : plan.results)
        if (plan.source->tensor(result.source).quantizedPart)
            taken.insert(result.source);
    if (taken.empty() || plan.request.quantize.isAsked())
        return {};
    std::set<TensorId> without = taken; // whose scales are no tensors
    std::size_t weights = 0;
    std::vector<std::string> scales; // of weights whose codes are left out
    for (const StoredWeight& weight : findStoredWeights(*plan.source, readQuantizationConfig(*plan.source))) {
        const auto missing = std::find_if(weight.parts.begin(), weight.parts.end(), [&](TensorId part) { return !taken.contains(part) && weight.needs(part); });
        const bool any = std::any_of(weight.parts.begin(), weight.parts.end(), [&](TensorId part) { return taken.contains(part); });
        if (taken.contains(weight.codes) && missing != weight.parts.end() && weight.problem.empty())
            return Error{ErrorCode::Refused, fmt::format("--include and --exclude take {} from {}: without it the codes mean nothing. Choose both or neither, or the values with --dequantize", printable(plan.source->parameterOf(*missing)), printable(weight.name))};
        if (any && !taken.contains(weight.codes))
            scales.push_back(weight.name);
        weights += any ? 1 : 0;
        for (const TensorId part : weight.parts)
            without.erase(part);
    }
    if (!without.empty() && plan.formatId != plan.source->formatId())
        return Error{ErrorCode::Refused, fmt::format("{} is a weight in codes whose scales lie beside the model, and {} has no place for them: --dequantize writes values", printable(plan.source->parameterOf(*without.begin())), plan.formatId)};
    const Format* const format = formatById(plan.formatId);
    if (format != nullptr && format->layOut != nullptr && weights != 0)
        plan.lines.push_back({PlanLine::Kind::Warning, "Quantized weights", fmt::format("The codes and scales of {} are written as tensors of their own, and {} has no place for scales: --dequantize writes values.", plural(weights, "quantized weight", "quantized weights"), format->title)});
    if (!scales.empty())
        plan.lines.push_back({PlanLine::Kind::Warning, "Quantized weights", fmt::format("Scales without their codes are taken: {}.", listed(scales))});
    return {};
}

} // namespace shardlens
