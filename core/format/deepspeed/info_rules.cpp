#include "core/format/deepspeed/parallel.h"

#include "core/base/text.h"
#include "core/format/deepspeed/run.h"

#include <fmt/format.h>

namespace shardlens::deepspeed {
namespace {

using pickle::Value;

// Python's re.match: anchored at the start only.
Result<Regex> matchPattern(std::string_view pattern)
{
    return Regex::compile(fmt::format("^(?:{})", pattern));
}

Status addPatterns(Value patterns, const ShardRule& like, RuleSet& set)
{
    for (std::size_t i = 0; i < patterns.size(); ++i) {
        ShardRule rule = like;
        rule.pattern = std::string(patterns.at(i).asText().value_or(""));
        SHARDLENS_ASSIGN(rule.regex, matchPattern(rule.pattern));
        set.rules.push_back(std::move(rule));
    }
    return {};
}

// sub_param_shard_widths of version 0.4: pattern → a list of widths a sub-parameter.
std::vector<std::vector<std::uint64_t>> recordedWidths(Value info, std::string_view pattern)
{
    std::vector<std::vector<std::uint64_t>> out;
    const Value widths = info.find("sub_param_shard_widths").find(pattern);
    for (std::size_t i = 0; i < widths.size(); ++i) {
        auto& segment = out.emplace_back();
        for (std::size_t rank = 0; rank < widths.at(i).size(); ++rank)
            segment.push_back(countOf(widths.at(i).at(rank)).value_or(0));
    }
    return out;
}

// {patterns, shape, partition_dim}: `shape` views the parameter; a tuple among its extents lists the widths of sub-parameters, a number is that many equal ones
// (before version 0.4, in the reading of current DeepSpeed). Extents before the partitioned one multiply the segments where they share its dimension.
Status addSubParameters(Value row, Value info, RuleSet& set)
{
    const Value shape = row.find("shape");
    const auto dim = countOf(row.find("partition_dim"));
    const Value patterns = row.find("patterns");
    if (!dim || *dim >= shape.size() || !patterns.isSequence())
        return Error{ErrorCode::Unsupported, "parameter_with_sub_params has an entry without patterns, shape and partition_dim"};
    const Value extent = shape.at(*dim);
    ShardRule rule;
    rule.kind = Division::Kind::Split;
    rule.dim = *dim;
    if (extent.isSequence()) {
        for (std::size_t i = 0; i < extent.size(); ++i)
            rule.segmentSizes.push_back(std::to_string(countOf(extent.at(i)).value_or(0)));
    } else if (const auto count = countOf(extent); count && *count > 0 && *count <= 1024) {
        rule.equalSegments = *count;
    } else {
        return Error{ErrorCode::Unsupported, "parameter_with_sub_params has an entry whose sub-parameters are not counted"};
    }
    for (std::size_t i = 0; i < patterns.size(); ++i) {
        ShardRule one = rule;
        one.pattern = std::string(patterns.at(i).asText().value_or(""));
        one.widths = recordedWidths(info, one.pattern);
        SHARDLENS_ASSIGN(one.regex, matchPattern(one.pattern));
        set.rules.push_back(std::move(one));
    }
    return {};
}

// Whether one of the vocabulary's patterns is a rule's own: its rows are words.
void markVocabulary(Value patterns, RuleSet& set)
{
    for (std::size_t i = 0; i < patterns.size(); ++i) {
        ShardRule rule;
        rule.kind = Division::Kind::Split;
        rule.vocabulary = true;
        rule.pattern = std::string(patterns.at(i).asText().value_or(""));
        if (auto regex = matchPattern(rule.pattern)) {
            rule.regex = regex.take();
            set.rules.push_back(std::move(rule));
        }
    }
}

} // namespace

Result<RuleSet> rulesOfUniversalInfo(Value info)
{
    RuleSet out;
    out.id = "universal_checkpoint_info";
    out.title = "What the run itself says (universal_checkpoint_info)";
    out.origin = "the checkpoint";
    ShardRule same;
    ShardRule mean;
    mean.kind = Division::Kind::Average;
    ShardRule halves{};
    halves.kind = Division::Kind::Split;
    halves.equalSegments = 2;
    ShardRule rows{};
    rows.kind = Division::Kind::Split;
    rows.dim = 1;
    // In the order of §14.4: the first list that has a name decides.
    SHARDLENS_TRY(addPatterns(info.find("tp_replicated_parameter_patterns"), same, out));
    SHARDLENS_TRY(addPatterns(info.find("parameter_to_average_patterns"), mean, out));
    SHARDLENS_TRY(addPatterns(info.find("parameter_with_2_sub_params_cat_dim_0"), halves, out));
    const Value subs = info.find("parameter_with_sub_params");
    for (std::size_t i = 0; i < subs.size(); ++i)
        SHARDLENS_TRY(addSubParameters(subs.at(i), info, out));
    SHARDLENS_TRY(addPatterns(info.find("parameter_with_row_parallelism_patterns"), rows, out));
    markVocabulary(info.find("vocabulary_parameter_patterns"), out);
    ShardRule rest;
    rest.kind = Division::Kind::Split;
    out.otherwise = rest;
    return out;
}

} // namespace shardlens::deepspeed
