#include "core/format/torch_dist/key_names.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <array>
#include <charconv>

namespace shardlens::torch_dist {
namespace {

constexpr std::string_view kOptimizer = "optimizer.";
constexpr std::string_view kStates = "optimizer.state.";
constexpr std::string_view kShard = "/shard_";
constexpr std::string_view kLayers = "layers.";
constexpr std::string_view kExperts = ".experts.experts.";
constexpr std::array<std::string_view, 5> kPrefixes{"model.module.module.", "model.module.", "model.", "module.", ""};
constexpr std::array<std::string_view, 6> kFirstNames{"embedding.word_embeddings.weight", "decoder.layers.", "encoder.layers.", "decoder.final_layernorm.", "decoder.final_norm.", "output_layer.weight"};
constexpr std::size_t kMostObjectAxes = 8;

struct PartRule {
    std::string_view of; // the whole's name ends so
    char joint;
    std::array<std::string_view, 5> parts;
};
constexpr std::array<PartRule, 5> kPartRules{{
    {"mixer.in_proj.weight", '.', {"z", "x", "B", "C", "dt"}},
    {"mixer.conv1d.weight", '.', {"x", "B", "C"}},
    {"mixer.conv1d.bias", '.', {"x", "B", "C"}},
    {".linear_fc1.weight", '_', {"w", "v"}},
    {".linear_fc1.bias", '_', {"w", "v"}},
}};

bool isDigit(char c)
{
    return c >= '0' && c <= '9';
}

// "chained_1.optimizer.…" → "optimizer.…": an optimizer of several (§6.8).
std::string_view withoutChain(std::string_view key)
{
    constexpr std::string_view kChained = "chained_";
    if (!key.starts_with(kChained))
        return key;
    std::size_t at = kChained.size();
    while (at < key.size() && isDigit(key[at]))
        ++at;
    return at > kChained.size() && at < key.size() && key[at] == '.' ? key.substr(at + 1) : key;
}

std::string_view withoutPrefix(std::string_view name, std::string_view prefix)
{
    return name.starts_with(prefix) ? name.substr(prefix.size()) : name;
}

// "3.5" → 3, 5
std::optional<std::vector<std::uint64_t>> numbersIn(std::string_view text)
{
    std::vector<std::uint64_t> out;
    while (out.size() < kMostObjectAxes) {
        std::uint64_t number = 0;
        const auto [end, failed] = std::from_chars(text.data(), text.data() + text.size(), number);
        if (failed != std::errc{})
            return std::nullopt;
        out.push_back(number);
        text.remove_prefix(static_cast<std::size_t>(end - text.data()));
        if (text.empty())
            return out;
        if (text.front() != '.')
            return std::nullopt;
        text.remove_prefix(1);
    }
    return std::nullopt;
}

// Where a number would stand behind `marker`, at the beginning of a part of the name; nothing where one stands there.
std::optional<std::size_t> unnumbered(std::string_view name, std::string_view marker, bool startsPart)
{
    for (std::size_t at = name.find(marker); at != std::string_view::npos; at = name.find(marker, at + 1)) {
        const std::size_t after = at + marker.size();
        if (startsPart && at != 0 && name[at - 1] != '.')
            continue;
        return after < name.size() && !isDigit(name[after]) ? std::optional(after) : std::nullopt; // the first counts: those inside a layer are its own
    }
    return std::nullopt;
}

} // namespace

Key keyOf(std::string_view key, std::string_view prefix)
{
    const std::string_view name = withoutChain(key);
    if (!name.starts_with(kOptimizer))
        return {Key::Kind::Model, std::string(withoutPrefix(key, prefix)), {}};
    if (name.starts_with(kStates)) {
        const std::string_view rest = name.substr(kStates.size());
        if (const std::size_t dot = rest.find('.'); dot != std::string_view::npos && dot > 0 && dot + 1 < rest.size())
            return {Key::Kind::State, std::string(withoutPrefix(rest.substr(dot + 1), prefix)), std::string(rest.substr(0, dot))};
    }
    return {Key::Kind::Buffer, {}, {}};
}

std::string modelPrefixOf(const DcpMetadata& metadata)
{
    for (const DcpEntry& entry : metadata.entries) {
        if (entry.kind == DcpEntry::Kind::Bytes)
            continue;
        const std::string_view key = entry.key;
        for (const std::string_view prefix : kPrefixes)
            if (key.starts_with(prefix) && std::any_of(kFirstNames.begin(), kFirstNames.end(), [&](std::string_view first) { return key.substr(prefix.size()).starts_with(first); }))
                return std::string(prefix);
    }
    return {};
}

bool isMasterState(std::string_view state)
{
    return state == "fp32_param" || state == "param";
}

std::optional<ObjectKey> objectKeyOf(std::string_view key)
{
    const std::size_t at = key.rfind(kShard);
    if (at == std::string_view::npos)
        return std::nullopt;
    const std::string_view place = key.substr(at + kShard.size());
    const std::size_t middle = place.find('_');
    auto offset = numbersIn(place.substr(0, middle));
    auto shape = middle == std::string_view::npos ? std::nullopt : numbersIn(place.substr(middle + 1));
    if (!offset || !shape || (shape->size() != offset->size() && shape->size() + 1 != offset->size()))
        return std::nullopt;
    return ObjectKey{std::string(key.substr(0, at)), std::move(*offset), std::move(*shape)};
}

std::string objectKeyText(std::string_view key, const std::vector<std::uint64_t>& offset, const std::vector<std::uint64_t>& shape)
{
    return fmt::format("{}{}{}_{}", key, kShard, fmt::join(offset, "."), fmt::join(shape, "."));
}

std::string ModelName::of(std::uint64_t layer, std::uint64_t expert) const
{
    std::string out = text;
    if (expertAt)
        out.insert(*expertAt, std::to_string(expert) + ".");
    if (layerAt)
        out.insert(*layerAt, std::to_string(layer) + ".");
    return out;
}

ModelName modelNameOf(std::string_view model)
{
    return {std::string(model), unnumbered(model, kLayers, true), unnumbered(model, kExperts, false)};
}

std::optional<PartName> partNameOf(std::string_view model)
{
    for (const PartRule& rule : kPartRules) {
        const std::size_t at = model.rfind(rule.joint);
        if (at == std::string_view::npos || !model.substr(0, at).ends_with(rule.of))
            continue;
        const auto part = std::find(rule.parts.begin(), rule.parts.end(), model.substr(at + 1));
        if (part != rule.parts.end() && !part->empty())
            return PartName{std::string(model.substr(0, at)), static_cast<std::size_t>(part - rule.parts.begin())};
    }
    return std::nullopt;
}

} // namespace shardlens::torch_dist
