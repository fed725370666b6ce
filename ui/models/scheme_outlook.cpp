#include "ui/models/scheme_outlook.h"

#include "core/quantized/quantize_choice.h"

#include <algorithm>
#include <array>
#include <set>

namespace shardlens::ui {
namespace {

constexpr std::array kFirst{"fp8-channel", "int8-channel", "int4-g128", "nvfp4", "fp8-block128", "int8-g128", "int4-g32", "nf4"};
constexpr const char* kOfLayout = "sdloader-int8";

std::uint64_t bytesAs(const Tensor& tensor, std::optional<DType> dtype)
{
    const std::uint64_t values = elementCount(tensor.shape).value_or(0);
    return bytesOf(dtype && isFloat(tensor.dtype) ? *dtype : tensor.dtype, values).value_or(0);
}

} // namespace

const std::vector<const QuantScheme*>& offeredSchemes()
{
    static const std::vector<const QuantScheme*> kOffered = [] {
        std::vector<const QuantScheme*> out;
        for (const char* name : kFirst)
            out.push_back(quantSchemeByName(name));
        for (const QuantScheme& scheme : quantSchemes())
            if (scheme.name != kOfLayout && std::find(out.begin(), out.end(), &scheme) == out.end())
                out.push_back(&scheme);
        return out;
    }();
    return kOffered;
}

std::size_t firstSchemes()
{
    return kFirst.size();
}

std::vector<SchemeOutlook> schemeOutlooks(const Checkpoint& source, Select select, std::optional<DType> dtype, const std::stop_token& stop)
{
    std::uint64_t all = 0;
    for (const SelectedTensor& selected : selectTensors(source, {select, {}, {}}))
        all += bytesAs(source.tensor(selected.tensor), dtype);
    std::vector<SchemeOutlook> out;
    for (const QuantScheme* scheme : offeredSchemes()) {
        if (stop.stop_requested())
            break;
        SchemeOutlook& one = out.emplace_back(SchemeOutlook{scheme, 0, all, all, {}});
        QuantizeOptions options;
        options.scheme = scheme;
        options.select = select;
        options.dtype = dtype;
        options.parameters.pieces = kDefaultQuantGroups;
        const auto choice = chooseWeights(source, options);
        if (!choice) {
            one.refusal = QString::fromStdString(choice.error().sentence());
            continue;
        }
        one.weights = choice->weights.size();
        for (const ChosenWeight& weight : choice->weights) {
            one.after -= std::min(one.after, bytesAs(source.tensor(weight.tensor), dtype));
            for (const QuantPart& part : weight.layout.parts())
                one.after += part.sizeBytes();
        }
    }
    return out;
}

} // namespace shardlens::ui
