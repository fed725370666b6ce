#include "core/format/deepspeed/universal_rules.h"

#include "core/base/text.h"

#include <fmt/format.h>

#include <algorithm>

namespace shardlens::deepspeed {

Result<UniversalRules> UniversalRules::of(pickle::Value info)
{
    constexpr std::pair<const char*, List> kLists[] = {{"tp_replicated_parameter_patterns", List::Replicated},
                                                       {"parameter_to_average_patterns", List::Averaged},
                                                       {"parameter_with_2_sub_params_cat_dim_0", List::TwoParts},
                                                       {"parameter_with_sub_params", List::SubParameters},
                                                       {"parameter_with_row_parallelism_patterns", List::RowParallel},
                                                       {"vocabulary_parameter_patterns", List::Vocabulary}};
    UniversalRules out;
    const auto add = [&](List list, pickle::Value pattern) -> Status {
        const auto text = pattern.asText();
        if (!text)
            return {};
        auto compiled = Regex::compile(fmt::format("\\A(?:{})", *text)); // Python's re.match: at the start
        if (!compiled)
            return compiled.takeError().within(fmt::format("universal_checkpoint_info: the pattern {}", printable(*text)));
        out.m_patterns.emplace_back(list, compiled.take());
        return {};
    };
    for (const auto& [key, list] : kLists) {
        const pickle::Value patterns = info.find(key);
        for (std::size_t i = 0; i < patterns.size(); ++i) {
            const pickle::Value inner = patterns.at(i).find("patterns");
            if (inner.isNone())
                SHARDLENS_TRY(add(list, patterns.at(i)));
            for (std::size_t p = 0; p < inner.size(); ++p)
                SHARDLENS_TRY(add(list, inner.at(p)));
        }
    }
    return out;
}

bool UniversalRules::matches(List list, const std::string& parameter) const
{
    return std::any_of(m_patterns.begin(), m_patterns.end(), [&](const auto& row) { return row.first == list && row.second.search(parameter); });
}

Result<UniversalDivision> UniversalRules::divisionOf(const std::string& parameter) const
{
    UniversalDivision out;
    out.isVocabulary = matches(List::Vocabulary, parameter);
    if (matches(List::Replicated, parameter) || matches(List::Averaged, parameter))
        out.kind = UniversalDivision::Kind::Whole;
    else if (matches(List::TwoParts, parameter))
        out.kind = UniversalDivision::Kind::CutInTwo;
    else if (matches(List::SubParameters, parameter))
        return Error{ErrorCode::Unsupported, fmt::format("{} is one of several sub-parameters (parameter_with_sub_params): writing these follows in a later version", printable(parameter))};
    else if (matches(List::RowParallel, parameter))
        out.dim = 1;
    return out;
}

} // namespace shardlens::deepspeed
