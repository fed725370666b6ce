#include "core/format/deepspeed/universal_rules.h"

#include "core/base/text.h"
#include "core/format/deepspeed/run.h"

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
    const auto add = [&](List list, pickle::Value pattern, pickle::Value row) -> Status {
        const auto text = pattern.asText();
        if (!text)
            return {};
        auto compiled = Regex::compile(fmt::format("\\A(?:{})", *text)); // Python's re.match: at the start
        if (!compiled)
            return compiled.takeError().within(fmt::format("universal_checkpoint_info: the pattern {}", printable(*text)));
        out.m_patterns.push_back({list, compiled.take(), row});
        return {};
    };
    for (const auto& [key, list] : kLists) {
        const pickle::Value patterns = info.find(key);
        for (std::size_t i = 0; i < patterns.size(); ++i) {
            const pickle::Value inner = patterns.at(i).find("patterns");
            if (inner.isNone())
                SHARDLENS_TRY(add(list, patterns.at(i), {}));
            for (std::size_t p = 0; p < inner.size(); ++p)
                SHARDLENS_TRY(add(list, inner.at(p), patterns.at(i)));
        }
    }
    return out;
}

const UniversalRules::Pattern* UniversalRules::find(List list, const std::string& parameter) const
{
    const auto at = std::find_if(m_patterns.begin(), m_patterns.end(), [&](const Pattern& one) { return one.list == list && one.regex.search(parameter); });
    return at == m_patterns.end() ? nullptr : &*at;
}

UniversalDivision UniversalRules::divisionOf(const std::string& parameter) const
{
    UniversalDivision out;
    out.isVocabulary = find(List::Vocabulary, parameter) != nullptr;
    if (find(List::Replicated, parameter) || find(List::Averaged, parameter)) {
        out.kind = UniversalDivision::Kind::Whole;
    } else if (find(List::TwoParts, parameter)) {
        out.kind = UniversalDivision::Kind::CutInTwo;
    } else if (const Pattern* const parts = find(List::SubParameters, parameter)) {
        out.kind = UniversalDivision::Kind::CutByParts;
        out.parts = parts->row;
    } else if (find(List::RowParallel, parameter)) {
        out.dim = 1;
    }
    return out;
}

Result<SubParameterExtents> subParameterExtents(pickle::Value row, ShapeView shape)
{
    const pickle::Value extents = row.find("shape");
    const auto dim = countOf(row.find("partition_dim"));
    const auto misfit = [&] { return Error{ErrorCode::Unsupported, fmt::format("its entry in parameter_with_sub_params does not describe the shape {}", shapeText(Shape(shape.begin(), shape.end())))}; };
    if (!dim || *dim >= extents.size() || extents.size() != shape.size())
        return misfit();
    SubParameterExtents out{static_cast<std::size_t>(*dim), {}, {}};
    for (std::size_t i = 0; i < extents.size(); ++i) {
        const pickle::Value extent = extents.at(i);
        std::uint64_t sum = 0;
        for (std::size_t k = 0; k < extent.size(); ++k) {
            const std::uint64_t width = countOf(extent.at(k)).value_or(0);
            if (width > shape[i] - sum) // and so the sum does not overflow
                return misfit();
            sum += width;
            if (i == *dim)
                out.widths.push_back(width);
        }
        if (i == *dim && !extent.isSequence()) {
            const std::uint64_t parts = countOf(extent).value_or(0);
            if (parts == 0 || parts > shape[i] || shape[i] % parts != 0)
                return misfit();
            out.widths.assign(parts, shape[i] / parts);
            sum = shape[i];
        }
        const std::int64_t said = extent.isSequence() ? static_cast<std::int64_t>(sum) : extent.asInt().value_or(0);
        out.other.push_back(said);
        if (i == *dim ? sum != shape[i] : said != -1 && static_cast<std::uint64_t>(said) != shape[i])
            return misfit();
    }
    return out;
}

} // namespace shardlens::deepspeed
