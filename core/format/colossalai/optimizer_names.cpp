#include "core/format/colossalai/optimizer_names.h"

#include "core/base/text.h"

#include <fmt/format.h>

#include <algorithm>
#include <optional>
#include <set>
#include <unordered_map>

namespace shardlens::colossalai {
namespace {

using Named = ModelOrder::Named;

// Whether a state of that name and shape can be a parameter's of shape `whole`: of its shape, or a factor of Adafactor's and CAME's.
bool isStateOf(const std::string& state, const Shape& shape, const Shape& whole)
{
    Shape factor = whole;
    if (state.ends_with("_row") && whole.size() > 1)
        factor.pop_back();
    else if (state.ends_with("_col") && whole.size() > 1)
        factor.erase(factor.end() - 2);
    return shape == whole || (factor != whole && shape == factor);
}

bool fits(const NumberedStates& states, const Named& parameter)
{
    return std::all_of(states.states.begin(), states.states.end(), [&](const auto& one) { return isStateOf(one.first, one.second, parameter.shape); });
}

// Assigns parameters to ids in order, passing over what has another shape. The earliest and the latest assignment tell whether there is more than one.
class OrderedMatch {
public:
    // Appends to `out`; false where it does not fit.
    static bool add(const std::vector<const NumberedStates*>& ids, const std::vector<const Named*>& names, OrderedMatch& out)
    {
        std::vector<std::size_t> first;
        for (std::size_t n = 0; n < names.size() && first.size() < ids.size(); ++n)
            if (fits(*ids[first.size()], *names[n]))
                first.push_back(n);
        if (first.size() != ids.size())
            return false;
        std::size_t left = ids.size();
        for (std::size_t n = names.size(); n > 0 && left > 0; --n) {
            if (!fits(*ids[left - 1], *names[n - 1]))
                continue;
            out.m_isUnique = out.m_isUnique && first[left - 1] == n - 1;
            --left;
        }
        for (std::size_t i = 0; i < ids.size(); ++i)
            out.m_names.emplace(ids[i]->id, names[first[i]]->name);
        return true;
    }

    [[nodiscard]] const std::map<std::int64_t, std::string>& names() const { return m_names; }
    [[nodiscard]] bool isUnique() const { return m_isUnique; }

private:
    std::map<std::int64_t, std::string> m_names;
    bool m_isUnique = true;
};

class Namer {
public:
    Namer(const std::vector<NumberedStates>& states, const std::vector<OptimizerGroup>& groups, const ModelOrder& model, const RuleSet& rules) : m_groups(groups)
    {
        for (const NumberedStates& one : states)
            m_states.emplace(one.id, &one);
        for (const Named& one : model.names) {
            m_all.push_back(&one);
            const bool isUndecayed = std::any_of(rules.undecayed.begin(), rules.undecayed.end(), [&](const Regex& pattern) { return pattern.search(one.name); });
            (isUndecayed ? m_undecayed : m_decayed).push_back(&one);
        }
    }

    StateNames run()
    {
        tryModelOrder();
        trySplit(m_decayed, m_undecayed);
        trySplit(m_undecayed, m_decayed);
        StateNames out;
        if (m_found.size() == 1 && m_found.front().isUnique()) {
            out.names = m_found.front().names();
            out.why = "Optimizer states are keyed by integers; their names follow from the order and the shapes of the model's parameters.";
        } else if (m_found.empty()) {
            out.isIncomplete = areParts();
            out.why = "Optimizer states are keyed by integers and stay so: their shapes are not those of the model's parameters in any usual order.";
        } else {
            out.why = "Optimizer states are keyed by integers and stay so: which parameter has which is ambiguous, for several assignments fit the shapes.";
        }
        return out;
    }

private:
    // Parameters that have no state at all are in the groups alone: of any shape.
    const NumberedStates* statesOf(std::int64_t id)
    {
        const auto at = m_states.find(id);
        if (at != m_states.end())
            return at->second;
        return &m_empty.try_emplace(id, NumberedStates{id, {}}).first->second;
    }

    std::vector<const NumberedStates*> idsOf(const OptimizerGroup& group)
    {
        std::vector<const NumberedStates*> out;
        for (const std::int64_t id : group.params)
            out.push_back(statesOf(id));
        return out;
    }

    std::vector<const NumberedStates*> allIds()
    {
        std::set<std::int64_t> ids;
        for (const auto& [id, states] : m_states)
            ids.insert(id);
        for (const OptimizerGroup& group : m_groups)
            ids.insert(group.params.begin(), group.params.end());
        std::vector<const NumberedStates*> out;
        for (const std::int64_t id : ids)
            out.push_back(statesOf(id));
        return out;
    }

    void tryModelOrder()
    {
        OrderedMatch match;
        if (OrderedMatch::add(allIds(), m_all, match))
            keep(std::move(match));
    }

    // Two groups: with decay and without, each in the order of the model.
    void trySplit(const std::vector<const Named*>& first, const std::vector<const Named*>& second)
    {
        if ((m_groups.size() != 2 && !m_groups.empty()) || first.empty() || second.empty())
            return;
        OrderedMatch match;
        if (m_groups.size() == 2) {
            if (OrderedMatch::add(idsOf(m_groups[0]), first, match) && OrderedMatch::add(idsOf(m_groups[1]), second, match))
                keep(std::move(match));
            return;
        }
        std::vector<const Named*> both = first;
        both.insert(both.end(), second.begin(), second.end());
        if (OrderedMatch::add(allIds(), both, match))
            keep(std::move(match));
    }

    void keep(OrderedMatch match)
    {
        const auto same = std::find_if(m_found.begin(), m_found.end(), [&](const OrderedMatch& other) { return other.names() == match.names(); });
        if (same == m_found.end())
            m_found.push_back(std::move(match));
    }

    // One tensor-parallel rank's part of every split state is what a bug of Gemini leaves (§12.6): smaller by one factor.
    bool areParts()
    {
        const auto ids = allIds();
        if (ids.size() != m_all.size())
            return false;
        std::uint64_t factor = 0;
        for (std::size_t i = 0; i < ids.size(); ++i)
            for (const auto& [name, shape] : ids[i]->states) {
                const Shape& whole = m_all[i]->shape;
                if (shape == whole)
                    continue;
                std::size_t differing = 0;
                for (std::size_t dim = 0; dim < whole.size() && shape.size() == whole.size(); ++dim) {
                    if (shape[dim] == whole[dim])
                        continue;
                    if (shape[dim] == 0 || whole[dim] % shape[dim] != 0 || (factor != 0 && factor != whole[dim] / shape[dim]))
                        return false;
                    factor = whole[dim] / shape[dim];
                    ++differing;
                }
                if (differing != 1)
                    return false;
            }
        return factor > 1;
    }

    const std::vector<OptimizerGroup>& m_groups;
    std::map<std::int64_t, const NumberedStates*> m_states;
    std::map<std::int64_t, NumberedStates> m_empty;
    std::vector<const Named*> m_all;
    std::vector<const Named*> m_decayed;
    std::vector<const Named*> m_undecayed;
    std::vector<OrderedMatch> m_found;
};

// Names that the groups themselves hold.
std::optional<std::map<std::int64_t, std::string>> ownNames(const std::vector<OptimizerGroup>& groups)
{
    std::map<std::int64_t, std::string> out;
    for (const OptimizerGroup& group : groups) {
        if (group.names.size() != group.params.size())
            return std::nullopt;
        for (std::size_t i = 0; i < group.params.size(); ++i)
            out.emplace(group.params[i], group.names[i]);
    }
    return out.empty() ? std::nullopt : std::optional(std::move(out));
}

} // namespace

StateNames nameStates(const std::vector<NumberedStates>& states, const std::vector<OptimizerGroup>& groups, const ModelOrder* model, const RuleSet& rules)
{
    if (auto own = ownNames(groups))
        return {std::move(*own), "Optimizer states are keyed by integers; the groups name them (param_names).", false};
    if (model == nullptr)
        return {{}, "Optimizer states are keyed by integers; the model beside them would tell names: open the folder that holds both.", false};
    if (!model->isKnown)
        return {{}, "Optimizer states are keyed by integers and stay so: the model beside them is sorted by name, so the order of its parameters is lost and several assignments fit.", false};
    return Namer(states, groups, *model, rules).run();
}

} // namespace shardlens::colossalai
