#include "core/layout/rule_set.h"

#include "core/base/text.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <numeric>

namespace shardlens {
namespace {

// "heads*head_dim" with the facts' numbers.
Result<std::uint64_t> sizeOf(std::string_view product, const Facts& facts)
{
    std::uint64_t out = 1;
    while (!product.empty()) {
        const std::size_t star = product.find('*');
        const std::string_view factor = product.substr(0, star);
        product = star == std::string_view::npos ? std::string_view() : product.substr(star + 1);
        const auto fact = facts.find(factor);
        const std::string_view digits = fact == facts.end() ? factor : std::string_view(fact->second);
        std::uint64_t number = 0;
        const auto [end, problem] = std::from_chars(digits.data(), digits.data() + digits.size(), number);
        if (problem != std::errc{} || end != digits.data() + digits.size())
            return Error{ErrorCode::Refused, fmt::format("the rule needs the size {}, which the checkpoint does not say", printable(factor))};
        if (number != 0 && out > (std::uint64_t{1} << 62) / number)
            return Error{ErrorCode::Refused, fmt::format("the size {} is too large", printable(factor))};
        out *= number;
    }
    return out;
}

Result<std::vector<std::uint64_t>> segmentsOf(const ShardRule& rule, std::uint64_t whole, const Facts& facts)
{
    std::vector<std::uint64_t> out;
    for (const std::string& size : rule.segmentSizes) {
        SHARDLENS_ASSIGN(const std::uint64_t cells, sizeOf(size, facts));
        out.push_back(cells);
    }
    if (!out.empty()) {
        const std::uint64_t sum = std::accumulate(out.begin(), out.end(), std::uint64_t{0});
        if (sum != whole)
            return Error{ErrorCode::Refused, fmt::format("the segments of the rule {} make {}, and it has {} along dimension {}", printable(rule.pattern), sum, whole, rule.dim)};
        return out;
    }
    if (whole % rule.equalSegments != 0)
        return Error{ErrorCode::Refused, fmt::format("{} along dimension {} are not {} equal segments", plural(whole, "element", "elements"), rule.dim, rule.equalSegments)};
    out.assign(rule.equalSegments, whole / rule.equalSegments);
    return out;
}

Status checkRank(const ShardRule& rule, ShapeView shape)
{
    if (rule.kind == Division::Kind::Split && rule.dim >= shape.size())
        return Error{ErrorCode::Refused, fmt::format("the rule {} cuts dimension {}, and the shape is {}", printable(rule.pattern), rule.dim, shapeText(shape))};
    return {};
}

std::string shapesText(std::span<const Shape> parts)
{
    std::string out;
    for (std::size_t i = 0; i < parts.size() && i < 8; ++i)
        out += (i == 0 ? "" : ", ") + shapeText(parts[i]);
    return parts.size() > 8 ? out + " …" : out;
}

// Parts of one dimension that the rule gives exact widths for.
Division exactDivision(const ShardRule& rule)
{
    return {Division::Kind::Split, rule.dim, rule.widths};
}

} // namespace

bool ShardRule::applies(const Facts& facts) const
{
    return std::all_of(when.begin(), when.end(), [&](const auto& condition) {
        const auto fact = facts.find(condition.first);
        return fact != facts.end() && std::find(condition.second.begin(), condition.second.end(), fact->second) != condition.second.end();
    });
}

std::string ShardRule::text() const
{
    std::string names;
    for (const std::string& name : segmentNames)
        names += (names.empty() ? "" : ", ") + name;
    std::string out;
    switch (kind) {
    case Division::Kind::Replicated: return "the same on every rank";
    case Division::Kind::Average: return "the mean of the ranks";
    case Division::Kind::Split: break;
    }
    out = fmt::format("cut along dimension {}", dim);
    const std::size_t segments = !widths.empty() ? widths.size() : !segmentSizes.empty() ? segmentSizes.size() : equalSegments;
    if (segments > 1)
        out += fmt::format(", each of {} segments by itself{}", segments, names.empty() ? "" : fmt::format(" ({})", names));
    else if (perHead && !names.empty())
        out += fmt::format(", {} lie together within every head", names);
    if (vocabulary)
        out += ", rows are words";
    return out;
}

Result<const ShardRule*> RuleSet::ruleFor(std::string_view name, const Facts& facts) const
{
    const ShardRule* found = nullptr;
    for (const ShardRule& rule : rules) {
        if (!rule.applies(facts) || !rule.regex->search(name))
            continue;
        if (found != nullptr)
            return Error{ErrorCode::Refused, fmt::format("two rules of {} match {}: {} and {}", printable(id), printable(name), printable(found->pattern), printable(rule.pattern))};
        found = &rule;
        if (firstMatchWins)
            break;
    }
    return found != nullptr ? found : otherwise ? &*otherwise : nullptr;
}

bool RuleSet::isOutOfCondition(std::string_view name, const Facts& facts) const
{
    bool matchesAny = false;
    for (const ShardRule& rule : rules) {
        if (!rule.regex->search(name))
            continue;
        if (rule.applies(facts))
            return false;
        matchesAny = true;
    }
    return matchesAny;
}

std::optional<GatingFound> findGating(const GatingProof& proof, const std::map<std::string, Shape, std::less<>>& shapes)
{
    for (const auto& [name, shape] : shapes) {
        if (shape.size() != 2 || !proof.rows.search(name))
            continue;
        const auto partner = proof.rows.replaced(name, proof.columns);
        const auto other = partner ? shapes.find(*partner) : shapes.end();
        if (other == shapes.end() || other->second.size() != 2)
            continue;
        const std::uint64_t rows = shape[proof.transposed ? 1 : 0];
        const std::uint64_t columns = other->second[proof.transposed ? 0 : 1];
        if (rows == columns || rows == 2 * columns)
            return GatingFound{rows != columns, name, other->first, rows, columns};
    }
    return std::nullopt;
}

void addFactsOfShapes(const RuleSet& set, const std::map<std::string, Shape, std::less<>>& shapes, Facts& facts)
{
    for (const MeasuredFact& one : set.measured) {
        const auto found = std::find_if(shapes.begin(), shapes.end(), [&](const auto& named) { return one.dim < named.second.size() && one.pattern.search(named.first); });
        if (found != shapes.end())
            facts[one.fact] = std::to_string(found->second[one.dim]);
    }
    if (const auto found = set.gating ? findGating(*set.gating, shapes) : std::nullopt)
        facts[set.gating->fact] = found->isGated ? "true" : "false";
}

Result<Division> divisionOf(const ShardRule& rule, ShapeView whole, std::uint32_t ranks, const Facts& facts)
{
    if (rule.kind != Division::Kind::Split)
        return Division{rule.kind, 0, {}};
    SHARDLENS_TRY(checkRank(rule, whole));
    if (!rule.widths.empty() && rule.widths.front().size() == ranks)
        return exactDivision(rule);
    SHARDLENS_ASSIGN(const auto segments, segmentsOf(rule, whole[rule.dim], facts));
    return divideEvenly(rule.dim, segments, ranks);
}

Result<JoinedShape> joinedShape(const ShardRule& rule, std::span<const Shape> parts, const Facts& facts)
{
    const Shape& first = parts.front();
    if (rule.kind != Division::Kind::Split) {
        for (const Shape& part : parts)
            if (part != first)
                return Error{ErrorCode::Refused, fmt::format("{}, and its parts differ in shape: {}", rule.text(), shapesText(parts))};
        return JoinedShape{first, {rule.kind, 0, {}}};
    }
    SHARDLENS_TRY(checkRank(rule, first));
    Shape whole = first;
    whole[rule.dim] = 0;
    for (const Shape& part : parts) {
        Shape other = part;
        if (other.size() == first.size())
            other[rule.dim] = first[rule.dim];
        if (other != first)
            return Error{ErrorCode::Refused, fmt::format("{}, and its parts do not fit each other: {}", rule.text(), shapesText(parts))};
        whole[rule.dim] += part[rule.dim];
    }
    Division division;
    if (rule.equalSegments == 1 && rule.segmentSizes.empty() && rule.widths.empty()) { // plain: parts may be of any width
        division = {Division::Kind::Split, rule.dim, {{}}};
        for (const Shape& part : parts)
            division.widths.front().push_back(part[rule.dim]);
        return JoinedShape{std::move(whole), std::move(division)};
    }
    SHARDLENS_ASSIGN(division, divisionOf(rule, whole, static_cast<std::uint32_t>(parts.size()), facts));
    for (std::uint32_t rank = 0; rank < parts.size(); ++rank)
        if (partShape(division, whole, rank) != parts[rank])
            return Error{ErrorCode::Refused, fmt::format("{}, and the part of rank {} is {}", rule.text(), rank, shapeText(parts[rank]))};
    return JoinedShape{std::move(whole), std::move(division)};
}

} // namespace shardlens
