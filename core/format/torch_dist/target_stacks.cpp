#include "core/format/torch_dist/target_stacks.h"

#include "core/base/checked.h"
#include "core/base/text.h"
#include "core/layout/rule_library.h"

#include <fmt/format.h>

#include <algorithm>
#include <set>
#include <tuple>

namespace shardlens::torch_dist {
namespace {

using TensorIndex = std::size_t; // into the list of target tensors

// Tensors of one place in a layer, whatever layer: by layer and expert.
struct Slots {
    std::map<std::uint64_t, std::map<std::uint64_t, TensorIndex>> layers;
};

class Stacker {
public:
    Stacker(const Checkpoint& source, const std::vector<TargetTensor>& tensors, const Facts& facts, const MayStack& mayStack)
        : m_source(source), m_tensors(tensors), m_facts(facts), m_mayStack(mayStack)
    {
    }

    Result<std::vector<TargetKey>> run()
    {
        for (std::size_t i = 0; i < m_tensors.size(); ++i) {
            const TargetName& name = m_tensors[i].name;
            Slots& slots = m_slots[{m_tensors[i].prefix, name.layers, name.tail}];
            if (!slots.layers[name.layer.value_or(0)].emplace(name.expert.value_or(0), i).second)
                return Error{ErrorCode::Refused, fmt::format("two tensors would be written as {}; leave one out with --exclude", printable(m_tensors[i].prefix + name.name()))};
        }
        findAlike();
        for (const TargetTensor& tensor : m_tensors)
            SHARDLENS_TRY(addKeys(tensor));
        return std::move(m_out);
    }

private:
    using SlotsKey = std::tuple<std::string, std::string, std::string>; // prefix, layers, tail

    [[nodiscard]] const Shape& shapeOf(TensorIndex i) const { return m_source.tensor(m_tensors[i].tensor).shape; }

    // The experts of a layer can be one tensor: 0, 1, 2 … of one shape and dtype.
    [[nodiscard]] bool expertsAlike(const std::map<std::uint64_t, TensorIndex>& experts) const
    {
        const TensorIndex first = experts.begin()->second;
        if (experts.rbegin()->first + 1 != experts.size() || !m_tensors[first].name.expert)
            return false;
        return std::all_of(experts.begin(), experts.end(), [&](const auto& one) { return shapeOf(one.second) == shapeOf(first) && m_tensors[one.second].dtype == m_tensors[first].dtype; });
    }

    // Layers can be stacked where all have the same tensors, and Megatron would.
    void findAlike()
    {
        std::map<std::string, std::set<std::uint64_t>> numbers;
        for (const auto& [key, slots] : m_slots)
            for (const auto& [layer, experts] : slots.layers)
                numbers[std::get<1>(key)].insert(layer);
        for (const auto& [layers, all] : numbers)
            if (!layers.empty() && !layers.starts_with("mtp.") && *all.rbegin() + 1 == all.size() && m_mayStack(layers))
                m_alike.insert(layers);
        for (const auto& [key, slots] : m_slots) {
            const auto& first = slots.layers.begin()->second;
            const bool isAlike = slots.layers.size() == numbers.at(std::get<1>(key)).size() && std::all_of(slots.layers.begin(), slots.layers.end(), [&](const auto& layer) {
                return layer.second.size() == first.size() && shapeOf(layer.second.begin()->second) == shapeOf(first.begin()->second) &&
                       m_tensors[layer.second.begin()->second].dtype == m_tensors[first.begin()->second].dtype && (!m_tensors[first.begin()->second].name.expert || expertsAlike(layer.second));
            });
            if (!isAlike)
                m_alike.erase(std::get<1>(key));
        }
    }

    // The keys of the stack that a tensor belongs to, where it is the first of it.
    Status addKeys(const TargetTensor& tensor)
    {
        const auto at = m_slots.find({tensor.prefix, tensor.name.layers, tensor.name.tail});
        if (at == m_slots.end())
            return {}; // written already
        const Slots slots = std::move(at->second);
        m_slots.erase(at);
        if (m_alike.contains(tensor.name.layers)) {
            std::vector<const std::map<std::uint64_t, TensorIndex>*> layers;
            for (const auto& [layer, experts] : slots.layers)
                layers.push_back(&experts);
            return addKey(tensor, tensor.name, true, layers);
        }
        for (const auto& [layer, experts] : slots.layers) {
            if (expertsAlike(experts)) {
                SHARDLENS_TRY(addKey(tensor, m_tensors[experts.begin()->second].name, false, {&experts}));
                continue;
            }
            for (const auto& [expert, index] : experts) {
                const std::map<std::uint64_t, TensorIndex> one{{expert, index}};
                SHARDLENS_TRY(addKey(tensor, m_tensors[index].name, false, {&one}, true));
            }
        }
        return {};
    }

    // Sizes of the parts that a tensor is stored in; one part where it is stored whole.
    struct Parts {
        std::vector<std::string> names;
        std::vector<std::uint64_t> rows;
    };
    [[nodiscard]] Result<Parts> partsOf(const TargetName& name, const Shape& shape) const
    {
        Parts out{{""}, {shape.empty() ? 1 : shape[0]}};
        const bool isDivided = name.tail.ends_with("mixer.in_proj.weight") || name.tail.ends_with("mixer.conv1d.weight") || name.tail.ends_with("mixer.conv1d.bias");
        if (!isDivided)
            return out;
        const std::string whole = name.name();
        SHARDLENS_ASSIGN(const ShardRule* const rule, builtInRules("megatron-core").ruleFor(whole, m_facts));
        auto division = rule == nullptr ? Result<Division>(Error{ErrorCode::Refused, "no rule"}) : divisionOf(*rule, shape, 1, m_facts);
        if (!division || division->widths.size() != rule->segmentNames.size())
            return Error{ErrorCode::Refused, fmt::format("{} is stored in parts (z, x, B, C, dt), and the source's arguments do not say how large each is{}", printable(whole),
                                                         division ? "" : ": " + division.error().text())};
        out = {};
        for (std::size_t i = 0; i < division->widths.size(); ++i) {
            out.names.push_back("." + rule->segmentNames[i]);
            out.rows.push_back(division->widths[i].front());
        }
        return out;
    }

    Status addKey(const TargetTensor& tensor, const TargetName& name, bool stacksLayers, const std::vector<const std::map<std::uint64_t, TensorIndex>*>& layers, bool numbersExperts = false)
    {
        const TensorIndex first = layers.front()->begin()->second;
        const Shape& own = shapeOf(first);
        const bool stacksExperts = name.expert && !numbersExperts;
        SHARDLENS_ASSIGN(const Parts parts, partsOf(name, own));
        std::uint64_t row = 0;
        for (std::size_t part = 0; part < parts.names.size(); ++part) {
            TargetKey out{tensor.prefix + name.key(stacksLayers, stacksExperts) + parts.names[part], m_tensors[first].dtype, own, stacksLayers, {}};
            if (parts.names.size() > 1)
                out.shape[0] = parts.rows[part];
            const std::uint64_t values = elementCount(out.shape).value_or(0);
            const std::uint64_t begin = own.empty() || own[0] == 0 ? 0 : elementCount(own).value_or(0) / own[0] * row;
            for (const auto* experts : layers) {
                std::vector<CellRun>& runs = out.layers.emplace_back();
                for (const auto& [expert, index] : *experts)
                    runs.push_back({m_tensors[index].tensor, begin, values});
            }
            if (stacksExperts)
                out.shape.insert(out.shape.begin(), layers.front()->size());
            if (stacksLayers)
                out.shape.insert(out.shape.begin(), layers.size());
            if (!m_keys.insert(out.key).second)
                return Error{ErrorCode::Refused, fmt::format("two tensors would be written under the key {}; leave one out with --exclude", printable(out.key))};
            row += parts.rows[part];
            m_out.push_back(std::move(out));
        }
        return {};
    }

    const Checkpoint& m_source;
    const std::vector<TargetTensor>& m_tensors;
    const Facts& m_facts;
    const MayStack& m_mayStack;
    std::map<SlotsKey, Slots> m_slots;
    std::set<std::string> m_alike; // layers that are stacked
    std::set<std::string> m_keys;
    std::vector<TargetKey> m_out;
};

} // namespace

Result<std::vector<TargetKey>> stackTensors(const Checkpoint& source, const std::vector<TargetTensor>& tensors, const Facts& facts, const MayStack& mayStack)
{
    return Stacker(source, tensors, facts, mayStack).run();
}

std::map<std::string, std::uint64_t> stackedLayers(const std::vector<TargetKey>& keys)
{
    std::map<std::string, std::uint64_t> out;
    for (const TargetKey& key : keys) {
        const std::size_t at = key.stacksLayers && !key.key.starts_with("optimizer.") ? key.key.find("layers.") : std::string::npos;
        if (at != std::string::npos)
            out.emplace(key.key.substr(0, at + 7), key.shape[0]);
    }
    return out;
}

} // namespace shardlens::torch_dist
