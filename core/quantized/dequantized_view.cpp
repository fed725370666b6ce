#include "core/quantized/dequantized_view.h"

#include "core/quantized/dequantized_weight.h"
#include "core/quantized/view_builder.h"

#include <algorithm>
#include <string_view>
#include <unordered_map>
#include <unordered_set>

namespace shardlens {
namespace {

// The codes of a tied weight have several names, and so has the weight.
void addTiedNames(ParameterId codes, const std::string& name, ViewBuilder& view)
{
    constexpr std::string_view kPacked = "_packed";
    for (const Alias& alias : view.base().aliases())
        if (alias.parameter == codes)
            view.builder().addAlias(alias.name.ends_with(kPacked) ? alias.name.substr(0, alias.name.size() - kPacked.size()) : alias.name, view.builder().parameter(name));
}

} // namespace

std::vector<Finding> checkStoredWeights(const CheckpointPtr& checkpoint)
{
    if (std::none_of(checkpoint->tensors().begin(), checkpoint->tensors().end(), [](const Tensor& tensor) { return tensor.quantizedPart; }))
        return {};
    std::vector<Finding> out;
    const QuantizationConfig config = readQuantizationConfig(*checkpoint);
    const auto values = std::make_shared<const ValueReader>(checkpoint);
    for (const StoredWeight& weight : findStoredWeights(*checkpoint, config)) {
        if (!weight.problem.empty())
            continue;
        if (const auto made = DequantizedWeight::make(values, *checkpoint, weight, config); !made)
            out.push_back({made.error().code() == ErrorCode::Corrupt ? Severity::Error : Severity::Info, kWeightFinding, made.error().sentence(), weight.codes, kNoFile, std::nullopt}); // what is not read may be sound
    }
    return out;
}

Result<CheckpointPtr> dequantizedView(const CheckpointPtr& checkpoint)
{
    const QuantizationConfig config = readQuantizationConfig(*checkpoint);
    const std::vector<StoredWeight> weights = findStoredWeights(*checkpoint, config);
    if (weights.empty())
        return Error{ErrorCode::Refused, "--dequantize is for quantized weights, and none are stored here"};
    const auto values = std::make_shared<const ValueReader>(checkpoint);
    std::unordered_map<TensorId, const StoredWeight*> byCodes;
    std::unordered_set<TensorId> parts;
    for (const StoredWeight& weight : weights) {
        byCodes.emplace(weight.codes, &weight);
        parts.insert(weight.parts.begin(), weight.parts.end());
    }
    ViewBuilder view(checkpoint);
    for (std::size_t i = 0; i < checkpoint->tensors().size(); ++i) {
        const auto id = idAt<TensorId>(i);
        if (const auto at = byCodes.find(id); at != byCodes.end()) {
            SHARDLENS_ASSIGN(const auto weight, DequantizedWeight::make(values, *checkpoint, *at->second, config));
            Tensor tensor;
            tensor.dtype = weight->dtype();
            tensor.shape = weight->shape();
            SHARDLENS_TRY(view.add(id, at->second->name, std::move(tensor), view.builder().addComputation(weight).front()));
            addTiedNames(checkpoint->tensor(id).parameter, at->second->name, view);
        } else if (!parts.contains(id)) {
            SHARDLENS_TRY(view.keep(id));
        }
    }
    view.leaveOut({kQuantizedBy, kQuantizedAs}, {kConfigFinding, kWeightFinding});
    const auto& facts = checkpoint->facts();
    const auto stored = std::find_if(facts.begin(), facts.end(), [](const auto& fact) { return fact.first == kQuantizedAs; });
    if (stored != facts.end())
        view.builder().addFact(kDequantizedFrom, stored->second);
    return std::move(view).finish();
}

} // namespace shardlens
