#include "core/quantized/quantized_view.h"

#include "core/base/text.h"
#include "core/quantized/quantized_weight.h"
#include "core/quantized/view_builder.h"

#include <algorithm>
#include <array>
#include <map>
#include <unordered_map>

namespace shardlens {
namespace {

// Weights with one scale of the whole: those of a fused projection, or one alone.
std::string familyOf(const std::string& name)
{
    std::string fused = fusedFamilyOf(name);
    return fused.empty() ? name : fused;
}

using Family = std::vector<std::shared_ptr<const WholeRange>>;

std::map<std::string, Family> familiesOf(const QuantizeChoice& choice, const std::shared_ptr<const ValueReader>& values)
{
    std::map<std::string, Family> out;
    for (const ChosenWeight& weight : choice.weights)
        if (weight.layout.scheme().scale == ScaleKind::E4M3)
            out[familyOf(weight.name)].push_back(std::make_shared<WholeRange>(weight.layout, WeightSource{values, weight.tensor, weight.name, weight.layout.dtype()}));
    return out;
}

Tensor partTensor(const QuantPart& part)
{
    Tensor out;
    out.dtype = part.dtype;
    out.shape = part.shape;
    out.quantizedPart = true;
    return out;
}

} // namespace

std::vector<std::shared_ptr<const QuantizedWeight>> quantizedWeights(const CheckpointPtr& checkpoint, const QuantizeChoice& choice, const QuantizeOptions& options)
{
    const auto values = std::make_shared<const ValueReader>(checkpoint);
    const std::map<std::string, Family> families = familiesOf(choice, values);
    std::vector<std::shared_ptr<const QuantizedWeight>> out;
    for (const ChosenWeight& weight : choice.weights) {
        const bool ofFamily = weight.layout.scheme().scale == ScaleKind::E4M3;
        out.push_back(std::make_shared<QuantizedWeight>(weight.layout, WeightSource{values, weight.tensor, weight.name, weight.layout.dtype()},
                                                        ofFamily ? families.at(familyOf(weight.name)) : Family{}, options.mostBytes, options.engine));
    }
    return out;
}

Result<CheckpointPtr> quantizedView(const CheckpointPtr& checkpoint, const QuantizeChoice& choice, const QuantizeOptions& options,
                                    const std::vector<std::shared_ptr<const QuantizedWeight>>& weights)
{
    std::unordered_map<TensorId, std::size_t> chosen;
    for (std::size_t i = 0; i < choice.weights.size(); ++i)
        chosen.emplace(choice.weights[i].tensor, i);
    std::unordered_map<ParameterId, std::vector<const std::string*>> aliases;
    for (const Alias& alias : checkpoint->aliases())
        aliases[alias.parameter].push_back(&alias.name);
    ViewBuilder view(checkpoint);
    for (std::size_t i = 0; i < checkpoint->tensors().size(); ++i) {
        const auto id = idAt<TensorId>(i);
        const auto at = chosen.find(id);
        if (at == chosen.end()) {
            SHARDLENS_TRY(view.keep(id));
            continue;
        }
        const QuantLayout& layout = weights[at->second]->layout();
        const auto streams = view.builder().addComputation(weights[at->second]);
        for (std::size_t part = 0; part < streams.size(); ++part)
            SHARDLENS_TRY(view.add(id, layout.parts()[part].name, partTensor(layout.parts()[part]), streams[part]));
        for (const std::string* tied : aliases[checkpoint->tensor(id).parameter]) { // its parts under each name
            const auto other = QuantLayout::make(layout.scheme(), options.parameters, *tied, layout.dtype(), checkpoint->tensor(id).shape);
            if (!other)
                return Error{other.error()}.within(printable(*tied));
            for (std::size_t part = 0; part < streams.size(); ++part)
                view.builder().addAlias(other->parts()[part].name, view.builder().parameter(layout.parts()[part].name));
        }
    }
    return std::move(view).finish();
}

} // namespace shardlens
