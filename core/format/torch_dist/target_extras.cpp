#include "core/format/torch_dist/target_extras.h"

#include <algorithm>
#include <map>
#include <set>

namespace shardlens::torch_dist {
namespace {

constexpr std::string_view kExpertModules = "experts.experts.";

// What lies in a layer: its modules, and how many experts it has.
struct Layer {
    std::set<std::string> modules;
    std::uint64_t experts = 0;
};
using Layers = std::map<std::string, std::map<std::uint64_t, Layer>>; // by what stands before the number

void addModules(const TargetTensor& tensor, Layers& out)
{
    Layer& layer = out[tensor.name.layers][tensor.name.layer.value_or(0)];
    const std::string& tail = tensor.name.tail;
    const bool isFusedNorm = tail.find(".layer_norm_") != std::string::npos; // its name alone may be that of the module
    for (std::size_t dot = tail.find('.'); dot != std::string::npos; dot = tail.find('.', dot + 1))
        if (!isFusedNorm || tail.find('.', dot + 1) != std::string::npos)
            layer.modules.insert(tail.substr(0, dot));
    if (tensor.name.expert)
        layer.experts = std::max(layer.experts, *tensor.name.expert + 1);
}

// Experts that are one module in a rank's file are several here.
std::string inExperts(std::string tail)
{
    const std::size_t at = tail.find("experts.linear_fc");
    if (at != std::string::npos && (at == 0 || tail[at - 1] == '.') && tail.find(kExpertModules) == std::string::npos)
        tail.insert(at, "experts.");
    return tail;
}

// A module without parameters is where what it lies in is.
std::string placeOf(const std::map<std::uint64_t, Layer>& layers, const std::string& module)
{
    const bool hasParameters = std::any_of(layers.begin(), layers.end(), [&](const auto& one) { return one.second.modules.contains(module); });
    const std::size_t dot = module.find_last_of('.');
    return hasParameters || dot == std::string::npos ? module : module.substr(0, dot);
}

} // namespace

std::vector<std::string> extraKeys(const std::set<ExtraPlace>& extras, const std::vector<TargetTensor>& tensors, const std::vector<TargetKey>& keys)
{
    Layers layers;
    for (const TargetTensor& tensor : tensors)
        if (tensor.prefix.empty())
            addModules(tensor, layers);
    const std::map<std::string, std::uint64_t> stacked = stackedLayers(keys);
    std::set<std::string> out;
    for (const auto& [before, place] : extras) {
        const std::string tail = inExperts(place);
        const std::string module = placeOf(layers[before], tail.substr(0, tail.find_last_of('.')));
        const bool isExpert = tail.find(kExpertModules) != std::string::npos;
        const auto stack = stacked.find(before);
        for (const auto& [number, layer] : layers[before]) {
            if (!layer.modules.contains(module))
                continue;
            std::string key = before + tail;
            if (!before.empty() && stack == stacked.end())
                key = before + std::to_string(number) + "." + tail;
            for (std::uint64_t expert = 0; expert < (isExpert ? layer.experts : 1); ++expert) {
                std::vector<std::uint64_t> offset;
                std::vector<std::uint64_t> shape;
                if (stack != stacked.end()) {
                    offset.push_back(number);
                    shape.push_back(stack->second);
                }
                if (isExpert) {
                    offset.push_back(expert);
                    shape.push_back(layer.experts);
                }
                out.insert(offset.empty() ? objectKeyText(key, {0}, {1}) : objectKeyText(key, offset, shape));
            }
        }
    }
    return {out.begin(), out.end()};
}

} // namespace shardlens::torch_dist
