#include "core/layout/rule_preview.h"

#include "core/base/text.h"
#include "core/layout/selection.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>

namespace shardlens {
namespace {

std::uint32_t tensorRanksOf(const Checkpoint& checkpoint)
{
    for (const Topology::Size& axis : checkpoint.topology().axes)
        if (axis.axis == Axis::Tp)
            return std::max<std::uint32_t>(axis.size, 1);
    return 1;
}

std::string conditionsText(const RuleSet& rules, std::string_view name)
{
    std::string facts;
    for (const ShardRule& rule : rules.rules)
        if (rule.regex->search(name))
            for (const auto& [fact, values] : rule.when)
                if (facts.find(fact) == std::string::npos)
                    facts += (facts.empty() ? "" : ", ") + fact;
    return facts;
}

class Sorter {
public:
    Sorter(const RuleSet& rules, const Checkpoint& checkpoint, RulePreview& out) : m_rules(rules), m_checkpoint(checkpoint), m_out(out)
    {
        for (const ShardRule& rule : rules.rules)
            m_out.uses.push_back({&rule, {}});
        if (rules.otherwise)
            m_out.uses.push_back({&*rules.otherwise, {}});
        for (std::size_t i = 0; i < m_out.uses.size(); ++i)
            m_useOf.emplace(m_out.uses[i].rule, i);
    }

    // The rule for a name, with its problem noted where there is none.
    const ShardRule* ruleFor(const std::string& name)
    {
        auto rule = m_rules.ruleFor(name, m_checkpoint.modelFacts());
        if (!rule) {
            m_out.matchedTwice.push_back({name, rule.error().text()});
            return nullptr;
        }
        if (*rule == nullptr) {
            const bool isForOthers = m_rules.isOutOfCondition(name, m_checkpoint.modelFacts());
            m_out.unmatched.push_back({name, isForOthers ? fmt::format("its rules are for other values of {}, or the checkpoint does not say it", printable(conditionsText(m_rules, name)))
                                                         : std::string("no pattern matches it")});
        }
        return *rule;
    }

    void add(const std::string& name, TensorId tensor)
    {
        const Tensor& held = m_checkpoint.tensor(tensor);
        if (held.shape.empty()) // a single number is not cut
            return;
        const ShardRule* rule = ruleFor(name);
        if (rule == nullptr)
            return;
        m_out.uses[m_useOf.at(rule)].tensors.push_back(tensor);
        if (const auto division = divisionOf(*rule, held.shape, m_out.ranks, m_checkpoint.modelFacts()); !division)
            m_out.undivided.push_back({name, division.error().text()});
    }

private:
    const RuleSet& m_rules;
    const Checkpoint& m_checkpoint;
    RulePreview& m_out;
    std::map<const ShardRule*, std::size_t> m_useOf;
};

} // namespace

RulePreview previewRules(const RuleSet& rules, const Checkpoint& checkpoint, std::uint32_t ranks)
{
    RulePreview out;
    out.ranks = ranks == 0 ? tensorRanksOf(checkpoint) : ranks;
    Sorter sorter(rules, checkpoint, out);
    for (const SelectedTensor& one : selectTensors(checkpoint, SelectionOptions{}))
        if (!one.isAlias)
            sorter.add(one.name, one.tensor);
    for (const LostTensor& lost : checkpoint.lostTensors())
        if (lost.role == RoleKind::Weight || lost.role == RoleKind::Buffer)
            if (sorter.ruleFor(lost.name) != nullptr)
                out.undivided.push_back({lost.name, lost.problem});
    return out;
}

Result<std::vector<Shape>> partShapes(const ShardRule& rule, ShapeView whole, std::uint32_t ranks, const Facts& facts)
{
    SHARDLENS_ASSIGN(const Division division, divisionOf(rule, whole, ranks, facts));
    std::vector<Shape> out;
    for (std::uint32_t rank = 0; rank < ranks; ++rank)
        out.push_back(partShape(division, whole, rank));
    return out;
}

} // namespace shardlens
