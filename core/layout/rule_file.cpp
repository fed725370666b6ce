#include "core/layout/rule_set.h"

#include "core/base/text.h"
#include "core/encoding/json_document.h"

#include <fmt/format.h>

#include <cmath>

namespace shardlens {
namespace {

using Json = nlohmann::ordered_json;

constexpr std::size_t kLargestRuleFile = 4u << 20;
constexpr std::size_t kDeepestRuleFile = 16;
constexpr std::uint64_t kMostSegments = 1024;
constexpr std::uint64_t kMostDimensions = 64;
constexpr const char* kRulesVersion = "shardlens_rules";

Error ruleTypeError(const char* wanted, const Json& found)
{
    return {ErrorCode::Refused, fmt::format("{} is needed, and this is {}", wanted, found.type_name())};
}

Result<std::string> textOf(const Json& value)
{
    if (!value.is_string())
        return ruleTypeError("text", value);
    return value.get<std::string>();
}

Result<std::uint64_t> numberOf(const Json& value, std::uint64_t most)
{
    if (!value.is_number_unsigned() || value.get<std::uint64_t>() > most)
        return Error{ErrorCode::Refused, fmt::format("a whole number up to {} is needed", most)};
    return value.get<std::uint64_t>();
}

Result<bool> flagOf(const Json& value)
{
    if (!value.is_boolean())
        return ruleTypeError("true or false", value);
    return value.get<bool>();
}

Result<std::vector<std::string>> textsOf(const Json& value)
{
    if (!value.is_array())
        return ruleTypeError("a list", value);
    std::vector<std::string> out;
    for (const Json& one : value) {
        SHARDLENS_ASSIGN(std::string text, textOf(one));
        out.push_back(std::move(text));
    }
    return out;
}

// What facts look like: numbers without ".0", true and false.
Result<std::string> factText(const Json& value)
{
    if (value.is_boolean())
        return std::string(value.get<bool>() ? "true" : "false");
    if (value.is_number()) {
        const double number = value.get<double>();
        return std::floor(number) == number ? fmt::format("{:.0f}", number) : fmt::format("{}", number);
    }
    return textOf(value);
}

Result<std::vector<Regex>> patternsOf(const Json& value)
{
    SHARDLENS_ASSIGN(const auto texts, textsOf(value));
    std::vector<Regex> out;
    for (const std::string& text : texts) {
        SHARDLENS_ASSIGN(Regex regex, Regex::compile(text));
        out.push_back(std::move(regex));
    }
    return out;
}

Status readWhen(const Json& value, ShardRule& rule)
{
    if (!value.is_object())
        return ruleTypeError("an object", value);
    for (const auto& [fact, allowed] : value.items()) {
        std::vector<std::string> values;
        for (const Json& one : allowed.is_array() ? allowed : Json::array({allowed})) {
            SHARDLENS_ASSIGN(std::string text, factText(one));
            values.push_back(std::move(text));
        }
        rule.when.emplace_back(fact, std::move(values));
    }
    return {};
}

Status readSegments(const Json& value, ShardRule& rule)
{
    if (value.is_array()) {
        SHARDLENS_ASSIGN(rule.segmentSizes, textsOf(value));
        return rule.segmentSizes.empty() ? Status(Error{ErrorCode::Refused, "at least one segment is needed"}) : Status();
    }
    SHARDLENS_ASSIGN(rule.equalSegments, numberOf(value, kMostSegments));
    if (rule.equalSegments == 0)
        return Error{ErrorCode::Refused, "at least one segment is needed"};
    return {};
}

Status readKind(const Json& value, ShardRule& rule)
{
    SHARDLENS_ASSIGN(const std::string kind, textOf(value));
    if (kind == "replicated")
        rule.kind = Division::Kind::Replicated;
    else if (kind == "average")
        rule.kind = Division::Kind::Average;
    else if (kind == "split")
        rule.kind = Division::Kind::Split;
    else
        return Error{ErrorCode::Refused, fmt::format("{} is no way to lie over ranks; split, replicated and average are", printable(kind))};
    return {};
}

Status readRuleMember(const std::string& name, const Json& value, ShardRule& rule)
{
    if (name == "pattern") {
        SHARDLENS_ASSIGN(rule.pattern, textOf(value));
    } else if (name == "ranks") {
        return readKind(value, rule);
    } else if (name == "dim") {
        SHARDLENS_ASSIGN(rule.dim, numberOf(value, kMostDimensions));
    } else if (name == "segments") {
        return readSegments(value, rule);
    } else if (name == "names") {
        SHARDLENS_ASSIGN(rule.segmentNames, textsOf(value));
    } else if (name == "per_head") {
        SHARDLENS_ASSIGN(rule.perHead, flagOf(value));
    } else if (name == "vocabulary") {
        SHARDLENS_ASSIGN(rule.vocabulary, flagOf(value));
    } else if (name == "when") {
        return readWhen(value, rule);
    } else {
        return Error{ErrorCode::Refused, "no such member of a rule"};
    }
    return {};
}

Result<ShardRule> readRule(const Json& value, bool isAnchored, bool isRest)
{
    if (!value.is_object())
        return ruleTypeError("an object", value);
    ShardRule rule;
    for (const auto& [name, member] : value.items())
        if (Status status = readRuleMember(name, member, rule); !status)
            return status.takeError().within(printable(name));
    const bool saysHow = value.contains("ranks");
    if (!saysHow)
        return Error{ErrorCode::Refused, "it has no member ranks (split, replicated or average)"};
    if (rule.kind == Division::Kind::Split && !value.contains("dim"))
        return Error{ErrorCode::Refused, "a split needs dim"};
    if (rule.kind != Division::Kind::Split && (value.contains("dim") || value.contains("segments")))
        return Error{ErrorCode::Refused, "dim and segments belong to a split"};
    if (isRest)
        return rule.pattern.empty() ? Result<ShardRule>(std::move(rule)) : Error{ErrorCode::Refused, "the rule for everything else has no pattern"};
    if (rule.pattern.empty())
        return Error{ErrorCode::Refused, "it has no pattern"};
    SHARDLENS_ASSIGN(rule.regex, Regex::compile(isAnchored ? "^(?:" + rule.pattern + ")" : rule.pattern));
    return rule;
}

Status readStages(const Json& value, RuleSet& set)
{
    if (!value.is_object())
        return ruleTypeError("an object", value);
    for (const auto& [place, patterns] : value.items()) {
        if (place != "first" && place != "last")
            return Error{ErrorCode::Refused, fmt::format("{} is no stage; first and last are", printable(place))};
        SHARDLENS_ASSIGN(auto compiled, patternsOf(patterns));
        for (Regex& pattern : compiled)
            set.stages.push_back({std::move(pattern), place == "first" ? StageRule::Place::First : StageRule::Place::Last});
    }
    return {};
}

Status readTied(const Json& value, RuleSet& set)
{
    if (!value.is_object())
        return ruleTypeError("an object", value);
    for (const auto& [copy, original] : value.items()) {
        SHARDLENS_ASSIGN(std::string name, textOf(original));
        set.tied.push_back({copy, std::move(name)});
    }
    return {};
}

Status readGating(const Json& value, RuleSet& set)
{
    const bool isTransposed = value.is_object() && value.contains("transposed");
    if (!value.is_object() || value.size() != (isTransposed ? 4 : 3) || !value.contains("fact") || !value.contains("rows") || !value.contains("columns"))
        return Error{ErrorCode::Refused, "an object with fact, rows and columns is needed"};
    SHARDLENS_ASSIGN(std::string fact, textOf(value["fact"]));
    SHARDLENS_ASSIGN(const std::string rows, textOf(value["rows"]));
    SHARDLENS_ASSIGN(std::string columns, textOf(value["columns"]));
    SHARDLENS_ASSIGN(Regex pattern, Regex::compile(rows));
    bool transposed = false;
    if (isTransposed) {
        SHARDLENS_ASSIGN(transposed, flagOf(value["transposed"]));
    }
    set.gating = GatingProof{std::move(fact), std::move(pattern), std::move(columns), transposed};
    return {};
}

Status readMeasured(const Json& value, RuleSet& set)
{
    if (!value.is_object())
        return ruleTypeError("an object", value);
    for (const auto& [fact, where] : value.items()) {
        if (!where.is_object() || where.size() != 2 || !where.contains("pattern") || !where.contains("dim"))
            return Error{ErrorCode::Refused, fmt::format("{}: an object with pattern and dim is needed", printable(fact))};
        SHARDLENS_ASSIGN(const std::string text, textOf(where["pattern"]));
        SHARDLENS_ASSIGN(Regex pattern, Regex::compile(text));
        SHARDLENS_ASSIGN(const std::uint64_t dim, numberOf(where["dim"], kMostDimensions));
        set.measured.push_back({fact, std::move(pattern), static_cast<std::size_t>(dim)});
    }
    return {};
}

Status readHeadOrders(const Json& value, RuleSet& set)
{
    if (!value.is_object())
        return ruleTypeError("an object", value);
    for (const auto& [pattern, parts] : value.items()) {
        SHARDLENS_ASSIGN(Regex of, Regex::compile(pattern));
        SHARDLENS_ASSIGN(const std::uint64_t count, numberOf(parts, kMostSegments));
        if (count == 0)
            return Error{ErrorCode::Refused, "at least one part is needed"};
        set.headOrders.push_back({std::move(of), count});
    }
    return {};
}

Status readGroupedExperts(const Json& value, RuleSet& set)
{
    if (!value.is_array())
        return ruleTypeError("a list", value);
    for (const Json& one : value) {
        if (!one.is_object() || one.size() != 3 || !one.contains("pattern") || !one.contains("name") || !one.contains("along"))
            return Error{ErrorCode::Refused, "an object with pattern, name and along is needed"};
        SHARDLENS_ASSIGN(const std::string pattern, textOf(one["pattern"]));
        SHARDLENS_ASSIGN(Regex of, Regex::compile(pattern));
        SHARDLENS_ASSIGN(std::string name, textOf(one["name"]));
        SHARDLENS_ASSIGN(const std::string along, textOf(one["along"]));
        if (name.find("{}") == std::string::npos)
            return Error{ErrorCode::Refused, "name has no {} for the number of the expert"};
        if (along != "columns" && along != "rows" && along != "stack")
            return Error{ErrorCode::Refused, fmt::format("{} is no way to hold experts; columns, rows and stack are", printable(along))};
        using Along = GroupedExperts::Along;
        set.groupedExperts.push_back({std::move(of), std::move(name), along == "columns" ? Along::Columns : along == "rows" ? Along::Rows : Along::Stack});
    }
    return {};
}

Status readRules(const Json& value, bool isAnchored, RuleSet& set)
{
    if (!value.is_array())
        return ruleTypeError("a list", value);
    for (std::size_t i = 0; i < value.size(); ++i) {
        auto rule = readRule(value[i], isAnchored, false);
        if (!rule)
            return rule.takeError().within(fmt::format("rule {}", i + 1));
        set.rules.push_back(rule.take());
    }
    return {};
}

Status readSetMember(const std::string& name, const Json& value, bool isAnchored, RuleSet& set)
{
    if (name == "id") {
        SHARDLENS_ASSIGN(set.id, textOf(value));
    } else if (name == "title") {
        SHARDLENS_ASSIGN(set.title, textOf(value));
    } else if (name == "about") {
        SHARDLENS_ASSIGN(set.about, textOf(value));
    } else if (name == "reference") {
        SHARDLENS_ASSIGN(set.reference, textOf(value));
    } else if (name == "first_match_wins") {
        SHARDLENS_ASSIGN(set.firstMatchWins, flagOf(value));
    } else if (name == "anchored") {
        SHARDLENS_ASSIGN([[maybe_unused]] const bool checked, flagOf(value));
    } else if (name == "rules") {
        return readRules(value, isAnchored, set);
    } else if (name == "otherwise") {
        SHARDLENS_ASSIGN(set.otherwise, readRule(value, isAnchored, true));
    } else if (name == "layers") {
        SHARDLENS_ASSIGN(set.layers, patternsOf(value));
    } else if (name == "experts") {
        SHARDLENS_ASSIGN(set.experts, patternsOf(value));
    } else if (name == "stages") {
        return readStages(value, set);
    } else if (name == "tied") {
        return readTied(value, set);
    } else if (name == "gating") {
        return readGating(value, set);
    } else if (name == "measured") {
        return readMeasured(value, set);
    } else if (name == "head_orders") {
        return readHeadOrders(value, set);
    } else if (name == "grouped_experts") {
        return readGroupedExperts(value, set);
    } else if (name == "buffers") {
        SHARDLENS_ASSIGN(set.buffers, patternsOf(value));
    } else if (name == "undecayed") {
        SHARDLENS_ASSIGN(set.undecayed, patternsOf(value));
    } else {
        return Error{ErrorCode::Refused, "no such member of a rule file"};
    }
    return {};
}

} // namespace

Result<RuleSet> parseRules(std::string_view json, std::string origin)
{
    SHARDLENS_ASSIGN(const Json document, parseJson(json, kLargestRuleFile, kDeepestRuleFile));
    if (!document.is_object() || !document.contains(kRulesVersion))
        return Error{ErrorCode::Refused, fmt::format("no rule file: it has no member {}", kRulesVersion)};
    if (document[kRulesVersion] != 1)
        return Error{ErrorCode::Unsupported, fmt::format("version {} of rule files, and this program reads version 1", document[kRulesVersion].dump())};
    const bool isAnchored = document.contains("anchored") && document["anchored"] == true;
    RuleSet out;
    out.origin = std::move(origin);
    for (const auto& [name, value] : document.items()) {
        if (name == kRulesVersion)
            continue;
        if (Status status = readSetMember(name, value, isAnchored, out); !status)
            return status.takeError().within(printable(name));
    }
    if (out.id.empty() || out.rules.empty())
        return Error{ErrorCode::Refused, out.id.empty() ? "it has no id" : "it has no rules"};
    return out;
}

} // namespace shardlens
