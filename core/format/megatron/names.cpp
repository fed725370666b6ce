#include "core/format/megatron/rank_set.h"

#include "core/base/text.h"

#include <fmt/format.h>

#include <charconv>
#include <set>

namespace shardlens::megatron {
namespace {

constexpr std::uint64_t kMostLayers = 1u << 20;

std::optional<LayerPlace> placeOf(const std::vector<Regex>& patterns, std::string_view name)
{
    for (const Regex& pattern : patterns) {
        const auto groups = pattern.groups(name);
        if (!groups || groups->size() < 2 || (*groups)[1].empty())
            continue;
        const std::string_view digits = (*groups)[1];
        LayerPlace out{std::string(name.substr(0, static_cast<std::size_t>(digits.data() - name.data()))), digits, 0};
        const auto [end, problem] = std::from_chars(digits.data(), digits.data() + digits.size(), out.index);
        if (problem == std::errc{} && end == digits.data() + digits.size() && out.index < kMostLayers)
            return out;
    }
    return std::nullopt;
}

// "model1.decoder…" of a virtual pipeline: the chunk and the rest.
std::optional<std::pair<std::uint32_t, std::string>> chunkOf(const std::string& name)
{
    constexpr std::string_view kModel = "model";
    if (!name.starts_with(kModel))
        return std::nullopt;
    std::uint32_t chunk = 0;
    const char* const begin = name.data() + kModel.size();
    const auto [end, problem] = std::from_chars(begin, name.data() + name.size(), chunk);
    if (problem != std::errc{} || end == name.data() + name.size() || *end != '.')
        return std::nullopt;
    return std::pair{chunk, std::string(end + 1, name.data() + name.size())};
}

std::string listed(const std::set<std::uint64_t>& numbers)
{
    std::string out;
    for (const std::uint64_t number : numbers)
        out += (out.empty() ? "" : ", ") + std::to_string(number);
    return out;
}

// Layer numbers of every stage begin at 0: the model's number is the sum of the layers before (§5.9).
void numberLayers(RankSet& set)
{
    std::map<std::tuple<std::string, std::uint32_t, std::uint32_t>, std::set<std::uint64_t>> seen;
    std::set<std::string> prefixes;
    for (const auto& [rank, entries] : set.entries)
        for (const Entry& entry : entries)
            if (const auto layer = layerOf(set.rules, entry.local)) {
                seen[{layer->prefix, entry.chunk, rank->pp}].insert(layer->index);
                prefixes.insert(layer->prefix);
            }
    for (const auto& [place, numbers] : seen) {
        const std::uint64_t count = *numbers.rbegin() + 1;
        set.layers.counts[place] = count;
        if (numbers.size() != count)
            set.builder.addFinding({Severity::Error, "missing-layer",
                                    fmt::format("Pipeline stage {} has the layers {} of {}: the numbers between are missing.", std::get<2>(place), listed(numbers),
                                                printable(std::get<0>(place))),
                                    kNoTensor, kNoFile, std::nullopt});
    }
    for (const std::string& prefix : prefixes) {
        std::uint64_t& total = set.layers.totals[prefix];
        for (std::uint32_t chunk = 0; chunk < set.sizes.chunks; ++chunk)
            for (std::uint32_t stage = 0; stage < set.sizes.pp; ++stage) {
                set.layers.offsets[{prefix, chunk, stage}] = total;
                const auto count = set.layers.counts.find({prefix, chunk, stage});
                total += count == set.layers.counts.end() ? 0 : count->second;
            }
    }
}

void checkLayerCount(RankSet& set)
{
    std::uint64_t most = 0;
    for (const auto& [prefix, total] : set.layers.totals)
        most = std::max(most, total);
    const auto said = set.facts.find("num_layers");
    if (said != set.facts.end() && most != 0 && said->second != std::to_string(most) && set.layers.totals.size() == 1)
        set.builder.addFinding({Severity::Warning, "layer-count", fmt::format("The arguments say {} layers, and the files hold {}.", printable(said->second), most), kNoTensor, kNoFile,
                                std::nullopt});
}

// "0 and 1", "2 to 5"
std::string rangeText(std::uint64_t first, std::uint64_t count)
{
    return count == 1 ? std::to_string(first) : fmt::format("{} {} {}", first, count == 2 ? "and" : "to", first + count - 1);
}

} // namespace

std::string withNumber(std::string_view name, std::string_view number, std::uint64_t with)
{
    const auto at = static_cast<std::size_t>(number.data() - name.data());
    return fmt::format("{}{}{}", name.substr(0, at), with, name.substr(at + number.size()));
}

std::optional<LayerPlace> layerOf(const RuleSet& rules, std::string_view name)
{
    return placeOf(rules.layers, name);
}

std::optional<LayerPlace> expertOf(const RuleSet& rules, std::string_view name)
{
    return placeOf(rules.experts, name);
}

Status nameEntries(RankSet& set)
{
    const bool isVirtual = set.sizes.chunks > 1;
    for (const Rank& rank : set.ranks) {
        if (!rank.content.checkpoint)
            continue;
        auto& entries = set.entries[&rank];
        for (std::size_t i = 0; i < rank.content.values.size(); ++i) {
            const std::string& name = rank.content.checkpoint->parameterOf(idAt<TensorId>(i));
            if (name.ends_with("_extra_state"))
                continue;
            if (!isVirtual) {
                entries.push_back({name, {}, 0, i, i});
            } else if (auto chunk = chunkOf(name)) {
                entries.push_back({std::move(chunk->second), {}, chunk->first, i, i});
            }
        }
    }
    numberLayers(set);
    checkLayerCount(set);
    for (const auto& [rank, entries] : set.entries)
        for (const Entry& entry : entries)
            if (const auto expert = expertOf(set.rules, entry.local))
                set.localExperts = std::max(set.localExperts, expert->index + 1);
    for (auto& [rank, entries] : set.entries)
        for (Entry& entry : entries) {
            entry.global = entry.local;
            if (const auto expert = expertOf(set.rules, entry.global))
                entry.global = withNumber(entry.global, expert->number, rank->ep * set.localExperts + expert->index);
            if (const auto layer = layerOf(set.rules, entry.global))
                entry.global = withNumber(entry.global, layer->number, set.layers.offsets.at({layer->prefix, entry.chunk, rank->pp}) + layer->index);
        }
    return {};
}

void sayLostExperts(RankSet& set)
{
    std::set<std::pair<std::uint32_t, std::uint32_t>> seen;
    std::map<std::uint32_t, std::set<std::string>> ofStage; // names of experts, with the number of the first expert-parallel rank
    for (const auto& [rank, entries] : set.entries)
        for (const Entry& entry : entries)
            if (const auto expert = expertOf(set.rules, entry.global)) {
                seen.emplace(rank->pp, rank->ep);
                ofStage[rank->pp].insert(withNumber(entry.global, expert->number, expert->index % set.localExperts));
            }
    for (const Rank& rank : set.ranks) {
        if (rank.content.checkpoint || !ofStage.contains(rank.pp) || !seen.emplace(rank.pp, rank.ep).second)
            continue;
        const std::uint64_t first = rank.ep * set.localExperts;
        std::string names;
        for (const std::string& name : ofStage[rank.pp]) {
            const auto expert = expertOf(set.rules, name);
            if (names.size() < 200)
                names += (names.empty() ? "" : ", ") + printable(withNumber(name, expert->number, first + expert->index));
            else if (!names.ends_with("…"))
                names += ", …";
        }
        set.builder.addFinding({Severity::Error, "lost-experts",
                                fmt::format("{} had {} {} of pipeline stage {}, and no other file has them: {} lost ({}).", printable(rank.name), set.localExperts == 1 ? "expert" : "the experts",
                                            rangeText(first, set.localExperts), rank.pp, plural(ofStage[rank.pp].size(), "tensor is", "tensors are"), names),
                                kNoTensor, rank.id, std::nullopt});
    }
}

} // namespace shardlens::megatron
