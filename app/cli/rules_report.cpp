#include "app/cli/rules_report.h"

#include "core/base/text.h"

#include <fmt/format.h>

#include <algorithm>
#include <set>

namespace shardlens::cli {
namespace {

constexpr std::size_t kMostNamesListed = 8;  // of problems, for people; --json has all
constexpr std::size_t kMostShapesListed = 4; // of ranks

void printRulesParagraph(Console& console, std::string_view text, std::size_t indent, Style style)
{
    for (const std::string& line : wrapped(text, console.width() - indent))
        console.line(std::string(indent, ' ') + console.styled(style, line));
}

std::string conditionsOf(const ShardRule& rule)
{
    std::string out;
    for (const auto& [fact, values] : rule.when) {
        std::string allowed;
        for (const std::string& value : values)
            allowed += (allowed.empty() ? "" : " or ") + printable(value);
        out += fmt::format("{}{} is {}", out.empty() ? "" : " and ", printable(fact), allowed);
    }
    return out;
}

bool sameParts(const std::vector<Shape>& parts)
{
    return std::all_of(parts.begin(), parts.end(), [&](const Shape& one) { return one == parts.front(); });
}

// "[24, 8] over 2 ranks: [12, 8] each"
std::string partsText(ShapeView whole, const Result<std::vector<Shape>>& parts)
{
    if (!parts)
        return fmt::format("{}: {}", shapeText(whole), parts.error().text());
    std::string out = fmt::format("{} over {}: ", shapeText(whole), plural(parts->size(), "rank", "ranks"));
    if (sameParts(*parts))
        return out + shapeText(parts->front()) + (parts->size() > 1 ? " each" : "");
    for (std::size_t i = 0; i < std::min(parts->size(), kMostShapesListed); ++i)
        out += (i == 0 ? "" : ", ") + shapeText((*parts)[i]);
    return parts->size() > kMostShapesListed ? out + " …" : out;
}

Result<std::vector<Shape>> exampleParts(const RulePreview::Use& use, const RulesOn& on)
{
    return partShapes(*use.rule, on.checkpoint->tensor(use.tensors.front()).shape, on.preview.ranks, on.checkpoint->modelFacts());
}

void printUse(Console& console, const RulePreview::Use& use, const RulesOn& on)
{
    if (use.tensors.empty()) {
        printRulesParagraph(console, "matches nothing", 8, Style::Warning);
        return;
    }
    const std::string count = plural(use.tensors.size(), "tensor", "tensors");
    const std::string& example = on.checkpoint->parameterOf(use.tensors.front());
    console.line(std::string(8, ' ') + console.styled(Style::Good, count) + (use.tensors.size() == 1 ? ": " : ", the first: ") +
                 elided(printable(example), console.width() - 28));
    printRulesParagraph(console, partsText(on.checkpoint->tensor(use.tensors.front()).shape, exampleParts(use, on)), 10, Style::Plain);
}

void printRule(Console& console, const std::string& label, const ShardRule& rule)
{
    const auto lines = wrapped(rule.pattern.empty() ? "everything else" : printable(rule.pattern), console.width() - 6);
    for (std::size_t i = 0; i < lines.size(); ++i)
        console.line(fmt::format("  {:>2}  ", i == 0 ? label : "") + console.styled(Style::Strong, lines[i]));
    const std::string conditions = conditionsOf(rule);
    printRulesParagraph(console, rule.text() + (conditions.empty() ? "" : ", where " + conditions), 8, Style::Plain);
}

void printEachRule(Console& console, const RuleSet& rules, const RulesOn* on)
{
    for (std::size_t i = 0; i < rules.rules.size(); ++i) {
        printRule(console, std::to_string(i + 1), rules.rules[i]);
        if (on != nullptr)
            printUse(console, on->preview.uses[i], *on);
    }
    if (rules.otherwise) {
        printRule(console, "", *rules.otherwise);
        if (on != nullptr)
            printUse(console, on->preview.uses.back(), *on);
    }
}

void printLabelled(Console& console, const char* label, const std::vector<std::string>& texts)
{
    for (std::size_t i = 0; i < texts.size(); ++i) {
        const auto lines = wrapped(texts[i], console.width() - 14);
        for (std::size_t line = 0; line < lines.size(); ++line)
            console.line(fmt::format("  {:<11} {}", i == 0 && line == 0 ? label : "", lines[line]));
    }
}

std::vector<std::string> patternTexts(const std::vector<Regex>& patterns)
{
    std::vector<std::string> out;
    for (const Regex& one : patterns)
        out.push_back(printable(one.pattern()));
    return out;
}

const char* placeName(StageRule::Place place)
{
    return place == StageRule::Place::First ? "first" : "last";
}

const char* alongName(GroupedExperts::Along along)
{
    switch (along) {
    case GroupedExperts::Along::Columns: return "columns";
    case GroupedExperts::Along::Rows: return "rows";
    case GroupedExperts::Along::Stack: return "stack";
    }
    return "";
}

void printModelRules(Console& console, const RuleSet& rules)
{
    printLabelled(console, "layers", patternTexts(rules.layers));
    printLabelled(console, "experts", patternTexts(rules.experts));
    std::vector<std::string> stages;
    for (const StageRule& one : rules.stages)
        stages.push_back(fmt::format("{} on the {}", printable(one.pattern.pattern()), placeName(one.place)));
    printLabelled(console, "stages", stages);
    std::vector<std::string> tied;
    for (const TiedRule& one : rules.tied)
        tied.push_back(fmt::format("{} is a copy of {}", printable(one.copy), printable(one.original)));
    printLabelled(console, "tied", tied);
    if (rules.gating)
        printLabelled(console, "gating", {fmt::format("{} is told by the {} of {} and the {} of {}", printable(rules.gating->fact), rules.gating->transposed ? "columns" : "rows",
                                                      printable(rules.gating->rows.pattern()), rules.gating->transposed ? "rows" : "columns", printable(rules.gating->columns))});
    std::vector<std::string> measured;
    for (const MeasuredFact& one : rules.measured)
        measured.push_back(fmt::format("{} is dimension {} of {}", printable(one.fact), one.dim, printable(one.pattern.pattern())));
    printLabelled(console, "measured", measured);
    std::vector<std::string> orders;
    for (const HeadOrder& one : rules.headOrders)
        orders.push_back(fmt::format("{} has {}", printable(one.of.pattern()), plural(one.parts, "part a head", "parts a head")));
    printLabelled(console, "head order", orders);
    std::vector<std::string> grouped;
    for (const GroupedExperts& one : rules.groupedExperts)
        grouped.push_back(fmt::format("{} is {} ({})", printable(one.of.pattern()), printable(one.name), alongName(one.along)));
    printLabelled(console, "grouped experts", grouped);
    printLabelled(console, "buffers", patternTexts(rules.buffers));
}

void printProblems(Console& console, const char* what, const std::vector<RulePreview::Problem>& problems)
{
    if (problems.empty())
        return;
    console.line(console.styled(Style::Warning, fmt::format("{} {}", plural(problems.size(), "tensor", "tensors"), what)));
    for (std::size_t i = 0; i < std::min(problems.size(), kMostNamesListed); ++i)
        printRulesParagraph(console, fmt::format("{}: {}", printable(problems[i].name), problems[i].text), 2, Style::Plain);
    if (problems.size() > kMostNamesListed)
        printRulesParagraph(console, fmt::format("… {} more; --json has all", groupedText(problems.size() - kMostNamesListed)), 2, Style::Muted);
}

Json ruleJson(const ShardRule& rule)
{
    static constexpr const char* kKinds[] = {"replicated", "average", "split"};
    Json out{{"pattern", rule.pattern.empty() ? Json() : Json(rule.pattern)}, {"ranks", kKinds[static_cast<std::size_t>(rule.kind)]}, {"text", rule.text()}};
    if (rule.kind == Division::Kind::Split) {
        out["dim"] = rule.dim;
        out["segments"] = rule.segmentSizes.empty() ? Json(rule.equalSegments) : Json(rule.segmentSizes);
        out["names"] = rule.segmentNames;
        out["per_head"] = rule.perHead;
        out["vocabulary"] = rule.vocabulary;
    }
    Json when = Json::object();
    for (const auto& [fact, values] : rule.when)
        when[fact] = values;
    out["when"] = std::move(when);
    return out;
}

Json useJson(const RulePreview::Use& use, const RulesOn& on)
{
    Json out{{"tensors", use.tensors.size()}, {"example", Json()}};
    if (use.tensors.empty())
        return out;
    const TensorId first = use.tensors.front();
    Json example{{"name", on.checkpoint->parameterOf(first)}, {"shape", shapeJson(on.checkpoint->tensor(first).shape)}, {"parts", Json()}};
    if (const auto parts = exampleParts(use, on)) {
        Json shapes = Json::array();
        for (const Shape& part : *parts)
            shapes.push_back(shapeJson(part));
        example["parts"] = std::move(shapes);
    }
    out["example"] = std::move(example);
    return out;
}

Json problemsJson(const std::vector<RulePreview::Problem>& problems)
{
    Json out = Json::array();
    for (const RulePreview::Problem& one : problems)
        out.push_back(Json{{"name", one.name}, {"text", one.text}});
    return out;
}

void addModelRules(const RuleSet& rules, Json& out)
{
    const auto patterns = [](const std::vector<Regex>& from) {
        Json list = Json::array();
        for (const Regex& one : from)
            list.push_back(one.pattern());
        return list;
    };
    out["layers"] = patterns(rules.layers);
    out["experts"] = patterns(rules.experts);
    out["stages"] = Json::array();
    for (const StageRule& one : rules.stages)
        out["stages"].push_back(Json{{"pattern", one.pattern.pattern()}, {"stage", placeName(one.place)}});
    out["tied"] = Json::array();
    for (const TiedRule& one : rules.tied)
        out["tied"].push_back(Json{{"copy", one.copy}, {"original", one.original}});
    out["gating"] = rules.gating ? Json{{"fact", rules.gating->fact}, {"rows", rules.gating->rows.pattern()}, {"columns", rules.gating->columns}, {"transposed", rules.gating->transposed}} : Json();
    out["measured"] = Json::array();
    for (const MeasuredFact& one : rules.measured)
        out["measured"].push_back(Json{{"fact", one.fact}, {"pattern", one.pattern.pattern()}, {"dim", one.dim}});
    out["head_orders"] = Json::array();
    for (const HeadOrder& one : rules.headOrders)
        out["head_orders"].push_back(Json{{"pattern", one.of.pattern()}, {"parts", one.parts}});
    out["grouped_experts"] = Json::array();
    for (const GroupedExperts& one : rules.groupedExperts)
        out["grouped_experts"].push_back(Json{{"pattern", one.of.pattern()}, {"name", one.name}, {"along", alongName(one.along)}});
    out["buffers"] = patterns(rules.buffers);
    out["undecayed"] = patterns(rules.undecayed);
}

} // namespace

std::vector<KnownRules> knownRules()
{
    std::vector<KnownRules> out;
    if (const std::string folder = userRulesFolder(); !folder.empty())
        for (RuleFile& file : rulesIn(folder))
            out.push_back({std::move(file), false});
    for (const RuleSet& set : builtInRules())
        out.push_back({{{}, set, {}}, false});
    std::set<std::string> ids;
    for (KnownRules& one : out)
        one.isHidden = one.file.rules && !ids.insert(one.file.rules->id).second;
    return out;
}

void printKnownRules(Console& console, const std::vector<KnownRules>& known)
{
    Table table({{"id"}, {"rules", true}, {"from"}, {"title", false, true}});
    for (const KnownRules& one : known)
        if (one.file.rules)
            table.addRow({printable(one.file.rules->id), std::to_string(one.file.rules->rules.size()),
                          one.isHidden ? "hidden by the one above" : printable(one.file.path.empty() ? "built in" : one.file.path), printable(one.file.rules->title)},
                         one.isHidden ? Style::Muted : Style::Plain);
    table.print(console);
    const std::string folder = userRulesFolder();
    if (!folder.empty())
        printRulesParagraph(console, fmt::format("Your own files (*.json) are read from {}.", printable(folder)), 0, Style::Muted);
    for (const KnownRules& one : known)
        if (!one.file.rules)
            console.warning(fmt::format("not read: {}.", one.file.problem));
}

Json knownRulesJson(const std::vector<KnownRules>& known)
{
    Json answer = answerJson();
    answer["folder"] = userRulesFolder().empty() ? Json() : Json(userRulesFolder());
    answer["rules"] = Json::array();
    for (const KnownRules& one : known) {
        Json row{{"id", Json()}, {"title", Json()}, {"count", Json()}, {"file", one.file.path.empty() ? Json() : Json(one.file.path)}, {"hidden", one.isHidden}};
        if (one.file.rules) {
            row["id"] = one.file.rules->id;
            row["title"] = one.file.rules->title;
            row["count"] = one.file.rules->rules.size();
        } else {
            row["problem"] = one.file.problem;
        }
        answer["rules"].push_back(std::move(row));
    }
    return answer;
}

void printRules(Console& console, const RuleSet& rules, const RulesOn* on)
{
    console.line(console.styled(Style::Strong, printable(rules.id)) + (rules.title.empty() ? "" : "  " + printable(rules.title)));
    printRulesParagraph(console, printable(rules.about), 2, Style::Plain);
    const std::string reference = rules.reference.empty() ? "" : fmt::format(" · {}", printable(rules.reference));
    printRulesParagraph(console,
                        fmt::format("{}{} · {}", printable(rules.origin), reference,
                                    rules.firstMatchWins ? "the first rule that matches counts" : "two rules that match one name are an error"),
                        2, Style::Muted);
    if (on != nullptr)
        printRulesParagraph(console, fmt::format("on {}, {}", printable(on->checkpoint->path()), plural(on->preview.ranks, "tensor-parallel rank", "tensor-parallel ranks")), 2, Style::Muted);
    console.line();
    printEachRule(console, rules, on);
    console.line();
    printModelRules(console, rules);
    if (on == nullptr)
        return;
    printProblems(console, "that no rule is for:", on->preview.unmatched);
    printProblems(console, "that two rules match:", on->preview.matchedTwice);
    printProblems(console, "that cannot be divided as their rule says:", on->preview.undivided);
}

Json rulesJson(const RuleSet& rules, const RulesOn* on)
{
    Json out = answerJson();
    out["id"] = rules.id;
    out["title"] = rules.title;
    out["about"] = rules.about;
    out["reference"] = rules.reference;
    out["origin"] = rules.origin;
    out["first_match_wins"] = rules.firstMatchWins;
    out["rules"] = Json::array();
    for (const ShardRule& rule : rules.rules)
        out["rules"].push_back(ruleJson(rule));
    out["otherwise"] = rules.otherwise ? ruleJson(*rules.otherwise) : Json();
    addModelRules(rules, out);
    if (on == nullptr)
        return out;
    out["path"] = on->checkpoint->path();
    out["tp"] = on->preview.ranks;
    for (std::size_t i = 0; i < rules.rules.size(); ++i)
        out["rules"][i]["on"] = useJson(on->preview.uses[i], *on);
    if (rules.otherwise)
        out["otherwise"]["on"] = useJson(on->preview.uses.back(), *on);
    out["unmatched"] = problemsJson(on->preview.unmatched);
    out["matched_twice"] = problemsJson(on->preview.matchedTwice);
    out["undivided"] = problemsJson(on->preview.undivided);
    return out;
}

} // namespace shardlens::cli
