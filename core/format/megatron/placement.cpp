#include "core/format/megatron/placement.h"

#include "core/base/text.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <unordered_map>

namespace shardlens::megatron {
namespace {

std::string divisorsText(std::uint64_t number)
{
    std::string out;
    for (std::uint64_t i = 1; i <= number && i <= 4096; ++i)
        if (number % i == 0)
            out += (out.empty() ? "" : ", ") + std::to_string(i);
    return out;
}

// The rules' word on which stage a parameter lies on, whatever its number.
std::optional<StageRule::Place> ruledPlace(const RankSet& source, const std::string& name)
{
    for (const StageRule& rule : source.rules.stages)
        if (rule.pattern.search(name))
            return rule.place;
    return std::nullopt;
}

// Where a parameter lies that is in no layer, or in one that does not move: as the rules say, else where the source has it.
std::uint32_t fixedStage(std::optional<StageRule::Place> place, std::uint32_t sourceStage, std::uint32_t stages)
{
    const bool isFirst = place ? *place == StageRule::Place::First : sourceStage == 0;
    return isFirst ? 0 : stages - 1;
}

// Orders names as a model registers its modules: of what a module holds first what comes first in `names`, numbers of layers and experts by number. A module
// that holds all experts registers "weight0", "bias0", "weight1" …: its names by number before what stands before the number.
class RegistrationOrder {
public:
    RegistrationOrder(const RankSet& source, const std::vector<std::string>& names) : m_source(source)
    {
        for (const std::string& name : names)
            keyOf(name);
    }
    using Key = std::vector<std::pair<std::size_t, std::uint64_t>>;

    Key keyOf(const std::string& name)
    {
        Key out;
        const auto expert = expertOf(m_source.rules, name);
        for (std::size_t begin = 0; begin <= name.size();) {
            const std::size_t end = std::min(name.find('.', begin), name.size());
            std::string_view stem = std::string_view(name).substr(begin, end - begin);
            std::uint64_t number = 0;
            if (!stem.empty() && stem.size() < 12 && stem.find_first_not_of("0123456789") == std::string_view::npos) {
                number = std::stoull(std::string(stem));
                stem = {};
            } else if (expert && expert->number.data() + expert->number.size() == name.data() + end) { // "weight3"
                out.emplace_back(orderOf(name.substr(0, begin), {}), expert->index);
                stem.remove_suffix(expert->number.size());
            }
            out.emplace_back(orderOf(name.substr(0, begin), stem), number);
            begin = end + 1;
        }
        return out;
    }

private:
    std::size_t orderOf(const std::string& parent, std::string_view stem)
    {
        auto& siblings = m_stems[parent];
        return siblings.try_emplace(std::string(stem), siblings.size()).first->second;
    }

    const RankSet& m_source;
    std::unordered_map<std::string, std::map<std::string, std::size_t, std::less<>>> m_stems; // by what stands before
};

// The model's own copy: what is neither a state nor a master.
bool isModelTensor(const RankSet& source, const Checkpoint& joined, TensorId id)
{
    const RoleKind kind = joined.roleOf(id).kind;
    return kind != RoleKind::OptimizerState && (kind != RoleKind::Weight || !source.mastered.contains(joined.parameterOf(id)));
}

} // namespace

Result<Placement> Placement::of(const RankSet& source, const Checkpoint& joined, const Sizes& target)
{
    Placement out;
    out.m_source = &source;
    out.m_target = target;
    if (const auto heads = factNumber(source.facts, "num_attention_heads"); heads && *heads > 0 && *heads % target.tp != 0) // Megatron-LM asserts it of its arguments
        return Error{ErrorCode::Refused, fmt::format("{} cannot be divided over {} tensor-parallel ranks; {} can", plural(*heads, "attention head", "attention heads"), target.tp, divisorsText(*heads))};
    const std::uint64_t experts = source.localExperts * source.sizes.ep;
    if (experts == 0 && target.ep > 1)
        return Error{ErrorCode::Refused, fmt::format("--ep {}: the model has no experts", target.ep)};
    if (experts % target.ep != 0)
        return Error{ErrorCode::Refused, fmt::format("{} cannot be divided over {} expert-parallel ranks; {} can", plural(experts, "expert", "experts"), target.ep, divisorsText(experts))};
    out.m_expertsOfRank = std::max<std::uint64_t>(experts / target.ep, 1);
    std::map<std::string, std::uint32_t> stageInSource;
    for (const auto& [rank, entries] : source.entries)
        for (const Entry& entry : entries)
            stageInSource.try_emplace(entry.global, rank->pp);
    for (std::size_t i = 0; i < joined.tensors().size(); ++i) {
        if (!isModelTensor(source, joined, idAt<TensorId>(i)))
            continue;
        Place held{joined.parameterOf(idAt<TensorId>(i)), idAt<TensorId>(i), 0, {}, {}};
        if (const auto expert = expertOf(source.rules, held.name))
            held.expert = expert->index;
        const auto layer = layerOf(source.rules, held.name);
        const auto place = ruledPlace(source, held.name);
        if (layer && !place) {
            const std::uint64_t total = source.layers.totals.at(layer->prefix);
            if (total % target.pp != 0)
                return Error{ErrorCode::Refused, fmt::format("{} of {} cannot be divided over {} pipeline stages; {} can", plural(total, "layer", "layers"), printable(layer->prefix), target.pp,
                                                             divisorsText(total))};
            const std::uint64_t each = total / target.pp;
            held.stage = static_cast<std::uint32_t>(layer->index / each);
            held.localLayer = layer->index % each;
        } else {
            held.stage = fixedStage(place, stageInSource[held.name], target.pp);
            if (layer) // few layers that stay together: those of multi-token prediction
                held.localLayer = layer->index;
        }
        out.m_places.push_back(std::move(held));
    }
    RegistrationOrder order(source, joined.parameters());
    std::vector<std::pair<RegistrationOrder::Key, Place>> keyed;
    for (Place& place : out.m_places)
        keyed.emplace_back(order.keyOf(place.name), std::move(place));
    std::stable_sort(keyed.begin(), keyed.end(), [](const auto& a, const auto& b) { return a.first < b.first; });
    std::transform(keyed.begin(), keyed.end(), out.m_places.begin(), [](auto& one) { return std::move(one.second); });
    return out;
}

std::vector<std::pair<std::string, TensorId>> Placement::modelTensors() const
{
    std::vector<std::pair<std::string, TensorId>> out;
    for (const Place& place : m_places)
        out.emplace_back(place.name, place.tensor);
    return out;
}

std::vector<Placed> Placement::onRank(std::uint32_t stage, std::uint32_t ep) const
{
    std::vector<Placed> out;
    for (const Place& place : m_places) {
        if (place.stage != stage || (place.expert && *place.expert / m_expertsOfRank != ep))
            continue;
        Placed placed{place.name, place.name, place.tensor};
        if (place.expert)
            placed.local = withNumber(placed.local, expertOf(m_source->rules, placed.local)->number, *place.expert % m_expertsOfRank);
        if (place.localLayer)
            placed.local = withNumber(placed.local, layerOf(m_source->rules, placed.local)->number, *place.localLayer);
        out.push_back(std::move(placed));
    }
    if (stage + 1 == m_target.pp && m_target.pp > 1 && m_source->isTied) // the last stage has a copy of the embedding (§5.10)
        for (const TiedRule& tied : m_source->rules.tied)
            for (const Place& place : m_places)
                if (place.name == tied.original && std::none_of(out.begin(), out.end(), [&](const Placed& other) { return other.global == tied.copy; }))
                    out.push_back({place.name, tied.copy, place.tensor});
    return out;
}

} // namespace shardlens::megatron
