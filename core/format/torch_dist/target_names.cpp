#include "core/format/torch_dist/target_names.h"

#include <algorithm>
#include <array>
#include <charconv>

namespace shardlens::torch_dist {
namespace {

constexpr std::string_view kLayersPart = "layers.";
constexpr std::string_view kOwnLayers = "mtp."; // of multi-token prediction: never stacked

// The number at `at`, and where it ends; nothing where none stands there.
std::optional<std::pair<std::uint64_t, std::size_t>> numberAt(std::string_view text, std::size_t at)
{
    std::uint64_t number = 0;
    const auto [end, failed] = std::from_chars(text.data() + at, text.data() + text.size(), number);
    return failed == std::errc{} && number < (1u << 20) ? std::optional(std::pair(number, static_cast<std::size_t>(end - text.data()))) : std::nullopt;
}

// "…experts.local_experts.3.linear_fc1.weight", "…experts.experts.3.linear_fc1.weight": experts that are modules.
bool readExpertModule(TargetName& out)
{
    for (const std::string_view marker : {std::string_view("experts.local_experts."), std::string_view("experts.experts.")}) {
        const std::size_t at = out.tail.find(marker);
        const auto number = at == std::string::npos ? std::nullopt : numberAt(out.tail, at + marker.size());
        if (!number || number->second >= out.tail.size() || out.tail[number->second] != '.')
            continue;
        const std::string before = out.tail.substr(0, at) + "experts.experts.";
        out.expertAt = before.size();
        out.expert = number->first;
        out.tail = before + out.tail.substr(number->second + 1);
        return true;
    }
    return false;
}

// "…experts.linear_fc1.weight3": a module that holds all of them.
void readGroupedExpert(TargetName& out)
{
    constexpr std::string_view kMarker = "experts.linear_fc";
    const std::size_t at = out.tail.find(kMarker);
    const std::size_t digits = out.tail.find_last_not_of("0123456789") + 1;
    if (at == std::string::npos || digits == out.tail.size() || digits == 0 || (at > 0 && out.tail[at - 1] != '.'))
        return;
    const auto number = numberAt(out.tail, digits);
    if (!number)
        return;
    const std::string before = out.tail.substr(0, at) + "experts.experts.";
    out.expertAt = before.size();
    out.expert = number->first;
    out.tail = before + out.tail.substr(at + std::string_view("experts.").size(), digits - at - std::string_view("experts.").size());
}

} // namespace

std::string TargetName::key(bool stacksLayers, bool stacksExperts) const
{
    std::string out = tail;
    if (expertAt && !stacksExperts)
        out.insert(*expertAt, std::to_string(*expert) + ".");
    return layer ? layers + (stacksLayers ? std::string() : std::to_string(*layer) + ".") + out : out;
}

TargetName targetNameOf(std::string_view name)
{
    TargetName out;
    out.tail = name;
    for (std::size_t at = name.find(kLayersPart); at != std::string_view::npos; at = name.find(kLayersPart, at + 1)) {
        if (at != 0 && name[at - 1] != '.')
            continue;
        const auto number = numberAt(name, at + kLayersPart.size());
        if (!number || number->second >= name.size() || name[number->second] != '.')
            break;
        out.layers = name.substr(0, at + kLayersPart.size());
        out.layer = number->first;
        out.tail = name.substr(number->second + 1);
        break;
    }
    if (!readExpertModule(out))
        readGroupedExpert(out);
    return out;
}

bool areMegatronNames(const std::vector<std::string>& names)
{
    constexpr std::array<std::string_view, 5> kFirst{"embedding.word_embeddings.weight", "decoder.layers.", "encoder.layers.", "decoder.final_layernorm.", "decoder.final_norm."};
    return std::any_of(names.begin(), names.end(), [&](const std::string& name) {
        return std::any_of(kFirst.begin(), kFirst.end(), [&](std::string_view first) { return name.starts_with(first); });
    });
}

} // namespace shardlens::torch_dist
