#include "ui/models/tensor_bands.h"

#include "ui/models/atlas_text.h"

#include <QCoreApplication>

#include <algorithm>
#include <array>

namespace shardlens::ui {
namespace {

struct TensorBandsText {
    Q_DECLARE_TR_FUNCTIONS(TensorBands)
};
using Said = TensorBandsText;

constexpr std::uint64_t kMostBands = 65'536;

// The leading number of the first fact that has one; 0: none has.
std::uint64_t countOf(const Checkpoint& checkpoint, std::string_view name, std::string_view argument)
{
    const auto number = [](const std::string& text) {
        const std::string digits = text.substr(0, text.find_first_not_of("0123456789"));
        return QString::fromStdString(digits).toULongLong();
    };
    for (const auto& [key, value] : checkpoint.facts())
        if (key == name)
            return number(value);
    const auto known = checkpoint.modelFacts().find(argument);
    return known == checkpoint.modelFacts().end() ? 0 : number(known->second);
}

// Its parts are those that lie within every head elsewhere in the set: each segment holds the heads of one part.
bool hasHeads(const RuleBook& book, const ShardRule& rule)
{
    const auto& rules = book.rules()->rules;
    return std::any_of(rules.begin(), rules.end(),
                       [&](const ShardRule& other) { return other.perHead && other.segmentNames == rule.segmentNames; });
}

QString doNotDivide(std::uint64_t cells, std::uint64_t heads, std::size_t parts)
{
    return Said::tr("%1 rows do not divide into %2 heads of %3 parts.").arg(numberText(cells), numberText(heads), QString::number(parts));
}

// Heads of one part, one behind another.
void addHeads(TensorBands& out, std::uint64_t begin, std::uint64_t end, std::uint32_t part, std::uint64_t count)
{
    const std::uint64_t width = (end - begin) / count;
    for (std::uint64_t i = 0; i < count; ++i)
        out.bands.push_back({begin + i * width, begin + (i + 1) * width, part, static_cast<std::uint32_t>(i)});
}

// Segments lie one behind another in the whole, and each is cut by itself.
void addSegments(const RuleBook& book, const ShardRule& rule, TensorId tensor, TensorBands& out)
{
    const auto division = book.divisionFor(rule, tensor);
    if (!division || division->widths.size() != rule.segmentNames.size()) {
        out.problem =
            division ? Said::tr("The rule names other segments than it cuts.") : QString::fromStdString(division.error().sentence());
        return;
    }
    std::uint64_t begin = 0;
    for (std::uint32_t part = 0; part < division->widths.size(); ++part) {
        std::uint64_t end = begin;
        for (const std::uint64_t width : division->widths[part])
            end += width;
        const std::uint64_t heads = part == 0 ? out.heads : out.groups;
        if (heads > 0 && (end - begin) % heads == 0)
            addHeads(out, begin, end, part, heads);
        else
            out.bands.push_back({begin, end, part, std::nullopt});
        if (heads > 0 && (end - begin) % heads != 0)
            out.problem = doNotDivide(end - begin, heads, 1);
        begin = end;
    }
}

// [group, part, element]: with three parts or more the first has a unit for each head of the group, the others one.
void addGroups(std::uint64_t cells, bool isRowByRow, TensorBands& out)
{
    const std::uint64_t first = out.parts.size() > 2 ? out.heads / out.groups : 1;
    const std::uint64_t units = first + static_cast<std::uint64_t>(out.parts.size()) - 1;
    if (cells % (out.groups * units) != 0) {
        out.problem = doNotDivide(cells, out.heads, static_cast<std::size_t>(out.parts.size()));
        return;
    }
    const std::uint64_t width = cells / (out.groups * units);
    std::uint64_t at = 0;
    const auto add = [&](std::uint64_t end, std::optional<std::uint32_t> part, std::uint64_t number) {
        out.bands.push_back({at, end, part, static_cast<std::uint32_t>(number)});
        at = end;
    };
    for (std::uint64_t group = 0; group < out.groups; ++group) {
        if (isRowByRow) {
            add(at + units * width, std::nullopt, group);
            continue;
        }
        for (std::uint64_t head = 0; head < first; ++head)
            add(at + width, 0, group * first + head);
        for (std::uint32_t part = 1; part < static_cast<std::uint32_t>(out.parts.size()); ++part)
            add(at + width, part, group);
    }
}

// Version 1 keeps [head, element, part], and so does a format that does not reorder it.
bool isRowByRow(const RuleBook& book, const std::string& name)
{
    const auto version = book.facts().find("version");
    const auto& orders = book.rules()->headOrders;
    const bool isReordered = std::any_of(orders.begin(), orders.end(), [&](const HeadOrder& order) { return order.of.search(name); });
    return !isReordered && version != book.facts().end() && version->second == "1";
}

} // namespace

const TensorBand* TensorBands::at(std::uint64_t cell) const
{
    const auto after =
        std::upper_bound(bands.begin(), bands.end(), cell, [](std::uint64_t value, const TensorBand& band) { return value < band.end; });
    return after != bands.end() && after->begin <= cell ? &*after : nullptr;
}

QString TensorBands::textOf(const TensorBand& band) const
{
    const QString part =
        band.part ? parts[static_cast<qsizetype>(*band.part)] : Said::tr("%1, row by row", "parts").arg(parts.join(QStringLiteral(", ")));
    if (!band.number)
        return part;
    const bool isGroup = band.part.value_or(0) > 0 && groups != heads;
    return isGroup ? Said::tr("%1, group %2 of %3", "part").arg(part, numberText(*band.number), numberText(groups))
                   : Said::tr("%1, head %2 of %3", "part").arg(part, numberText(*band.number), numberText(heads));
}

QString TensorBands::labelOf(const TensorBand& band) const
{
    if (!band.number)
        return band.part ? parts[static_cast<qsizetype>(*band.part)] : QString();
    const QString number = QString::number(*band.number);
    return band.part ? parts[static_cast<qsizetype>(*band.part)].left(1) + number : Said::tr("head %1").arg(number);
}

QString TensorBands::headsText() const
{
    if (heads == 0)
        return {};
    const QString count = groups == heads ? Said::tr("%1 heads").arg(numberText(heads))
                                          : Said::tr("%1 heads in %2 groups").arg(numberText(heads), numberText(groups));
    return saysHeads ? Said::tr("%1 (from the checkpoint)", "heads").arg(count) : count;
}

std::optional<TensorBands> bandsOf(const RuleBook& book, TensorId tensor, std::uint64_t heads)
{
    const Checkpoint& checkpoint = *book.checkpoint();
    const Tensor& of = checkpoint.tensor(tensor);
    const ShardRule* rule = book.ruleOf(of.parameter);
    if (rule == nullptr || rule->kind != Division::Kind::Split || rule->segmentNames.size() < 2 || rule->dim >= of.shape.size() ||
        of.shape[rule->dim] == 0)
        return std::nullopt;
    TensorBands out;
    out.dim = rule->dim;
    for (const std::string& name : rule->segmentNames)
        out.parts << printableText(name);
    out.isByHeads = rule->perHead || hasHeads(book, *rule);
    if (out.isByHeads) {
        const std::uint64_t said = countOf(checkpoint, "attention heads", "num_attention_heads");
        out.saysHeads = said > 0;
        out.heads = out.saysHeads ? said : heads;
        const auto shares =
            checkpoint.modelFacts().find("group_query_attention"); // else the number of groups is a default that nobody uses
        const bool hasGroups = out.saysHeads && (shares == checkpoint.modelFacts().end() || shares->second == "true");
        const std::uint64_t groups = hasGroups ? countOf(checkpoint, "query groups", "num_query_groups") : 0;
        out.groups = groups > 0 ? groups : out.heads;
        if (out.heads > kMostBands) {
            out.problem = Said::tr("%1 heads are too many to draw.").arg(numberText(out.heads));
            return out;
        }
        if (const std::uint32_t ranks = std::max(book.ranks(), 1u); out.heads % ranks != 0) {
            out.problem = Said::tr("%1 heads do not divide over %2 tensor-parallel ranks.").arg(numberText(out.heads), numberText(ranks));
            return out;
        }
        if (out.groups > 0 && out.heads % out.groups != 0) {
            out.problem = Said::tr("%1 heads do not divide into %2 groups.").arg(numberText(out.heads), numberText(out.groups));
            return out;
        }
    }
    if (!rule->perHead)
        addSegments(book, *rule, tensor, out);
    else if (out.heads > 0)
        addGroups(of.shape[rule->dim], isRowByRow(book, checkpoint.parameterOf(tensor)), out);
    else
        out.problem = Said::tr("How many heads there are is not in the checkpoint: say it above.");
    return out;
}

} // namespace shardlens::ui
