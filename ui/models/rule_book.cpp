#include "ui/models/rule_book.h"

#include "core/layout/rule_library.h"
#include "ui/models/atlas_text.h"

#include <QCoreApplication>

#include <algorithm>
#include <set>
#include <utility>

namespace shardlens::ui {
namespace {

constexpr std::size_t kPollNames = 256;

QString said(const char* text)
{
    return QCoreApplication::translate("RuleBook", text);
}

std::string factOf(const Checkpoint& checkpoint, std::string_view name)
{
    for (const auto& [key, value] : checkpoint.facts())
        if (key == name)
            return value;
    return {};
}

// Stretches along `dim` that the first tensor-parallel rank holds, neighbours as one: as many as segments that were cut by themselves.
std::size_t stretchesOfFirstRank(const Checkpoint& checkpoint, TensorId tensor, std::size_t dim)
{
    const Tensor& of = checkpoint.tensor(tensor);
    std::uint64_t row = 1; // elements from one index along dimension 0 to the next
    for (std::size_t i = 1; i < of.shape.size(); ++i)
        row *= of.shape[i];
    std::vector<std::pair<std::uint64_t, std::uint64_t>> stretches;
    for (std::size_t at = checkpoint.pieces().firstOf(tensor); at < checkpoint.pieces().lastOf(tensor); ++at) {
        const Piece piece = checkpoint.pieces().at(idAt<PieceId>(at));
        const auto& coordinates = checkpoint.holder(piece.holder).coordinates;
        if (std::any_of(coordinates.begin(), coordinates.end(), [](const auto& one) { return one.axis == Axis::Tp && one.index != 0; }))
            continue;
        if (const auto* flat = std::get_if<FlatRange>(&piece.region); flat != nullptr && dim == 0)
            stretches.emplace_back(flat->begin, flat->end);
        else if (const auto* box = std::get_if<BoxView>(&piece.region); box != nullptr && dim < box->offset.size())
            stretches.emplace_back(box->offset[dim] * (dim == 0 ? row : 1), (box->offset[dim] + box->extent[dim]) * (dim == 0 ? row : 1));
    }
    std::sort(stretches.begin(), stretches.end());
    std::size_t count = 0;
    std::uint64_t end = 0;
    for (const auto& [from, to] : stretches) {
        count += count == 0 || from > end ? 1 : 0;
        end = std::max(end, to);
    }
    return count;
}

std::size_t segmentsOf(const ShardRule& rule)
{
    return !rule.widths.empty() ? rule.widths.size() : !rule.segmentSizes.empty() ? rule.segmentSizes.size() : static_cast<std::size_t>(rule.equalSegments);
}

// A fact that is known and not among the values rules a rule out; one that is not known does not.
bool mayApply(const ShardRule& rule, const Facts& facts)
{
    return std::all_of(rule.when.begin(), rule.when.end(), [&](const auto& condition) {
        const auto known = facts.find(condition.first);
        return known == facts.end() || std::find(condition.second.begin(), condition.second.end(), known->second) != condition.second.end();
    });
}

} // namespace

std::shared_ptr<const RuleBook> RuleBook::build(CheckpointPtr checkpoint, const std::stop_token& stop)
{
    auto out = std::make_shared<RuleBook>();
    out->m_checkpoint = std::move(checkpoint);
    const Checkpoint& of = *out->m_checkpoint;
    out->m_id = factOf(of, "rules");
    if (out->m_id.empty())
        return out;
    if (auto found = findRules(out->m_id))
        out->m_rules = found.take();
    else
        return out;
    out->m_facts = of.modelFacts();
    if (const std::string version = factOf(of, "checkpoint version"); !version.empty())
        out->m_facts.try_emplace("version", version.substr(0, version.find(' ')));
    out->m_tensorOf.assign(of.parameters().size(), kNoTensor);
    for (std::size_t i = of.tensors().size(); i-- > 0;) {
        TensorId& first = out->m_tensorOf[indexOf(of.tensors()[i].parameter)];
        if (first == kNoTensor || of.roleOf(first).kind != RoleKind::Weight || of.roleOf(idAt<TensorId>(i)).kind == RoleKind::Weight)
            first = idAt<TensorId>(i);
    }
    out->m_ruleOf.assign(of.parameters().size(), nullptr);
    for (std::size_t i = 0; i < of.parameters().size(); ++i) {
        if (i % kPollNames == 0 && stop.stop_requested())
            return nullptr;
        if (out->m_tensorOf[i] != kNoTensor)
            out->m_ruleOf[i] = out->choose(of.parameters()[i], out->m_tensorOf[i]);
    }
    return out;
}

// Where several rules may be meant because the checkpoint does not repeat a fact, the pieces decide.
const ShardRule* RuleBook::choose(const std::string& name, TensorId tensor) const
{
    std::vector<const ShardRule*> candidates;
    for (const ShardRule& rule : m_rules->rules)
        if (mayApply(rule, m_facts) && rule.regex->search(name))
            candidates.push_back(&rule);
    if (candidates.empty())
        return m_rules->otherwise ? &*m_rules->otherwise : nullptr;
    for (const ShardRule* rule : candidates) {
        if (rule->when.empty() || candidates.size() == 1)
            return rule;
        if (rule->kind == Division::Kind::Split && segmentsOf(*rule) == stretchesOfFirstRank(*m_checkpoint, tensor, rule->dim))
            return rule;
    }
    return candidates.front();
}

std::vector<TensorId> RuleBook::tensorsOf(const ShardRule* rule) const
{
    std::vector<TensorId> out;
    for (std::size_t i = 0; i < m_ruleOf.size(); ++i)
        if (m_ruleOf[i] == rule && m_tensorOf[i] != kNoTensor)
            out.push_back(m_tensorOf[i]);
    return out;
}

QString RuleBook::divisionSentence(TensorId tensor) const
{
    const ShardRule* rule = ruleOf(m_checkpoint->tensor(tensor).parameter);
    if (rule == nullptr || ranks() < 2 || m_checkpoint->tensor(tensor).shape.empty())
        return cutSentence(*m_checkpoint, tensor);
    QString text = printableText(rule->text());
    text[0] = text[0].toUpper();
    return rule->kind == Division::Kind::Split ? said("%1, over %2 ranks of tensor parallelism.").arg(text, numberText(ranks()))
                                               : said("%1 of tensor parallelism.").arg(text);
}

QString RuleBook::ruleSentence(TensorId tensor) const
{
    const ShardRule* rule = ruleOf(m_checkpoint->tensor(tensor).parameter);
    if (rule == nullptr)
        return {};
    const QString set = QStringLiteral("%1 (%2)").arg(printableText(m_rules->title), printableText(m_rules->id));
    return m_rules->isNamed(rule) ? said("Rule %1 of: %2.").arg(printableText(rule->pattern), set)
                                  : said("No pattern matches; the rule for everything else of: %1.").arg(set);
}

QString cutSentence(const Checkpoint& checkpoint, TensorId tensor)
{
    const Tensor& of = checkpoint.tensor(tensor);
    const Shape units = unitShape(of.shape, of.dtype);
    std::set<std::uint32_t> ranks;
    std::set<std::pair<std::vector<std::uint64_t>, std::vector<std::uint64_t>>> boxes;
    std::set<std::size_t> dims;
    bool isFlat = false;
    std::size_t copies = 0; // pieces that are all of it
    const std::size_t pieces = checkpoint.pieces().countOf(tensor);
    for (std::size_t at = checkpoint.pieces().firstOf(tensor); at < checkpoint.pieces().lastOf(tensor); ++at) {
        const Piece piece = checkpoint.pieces().at(idAt<PieceId>(at));
        if (const auto rank = checkpoint.rankOfPiece(piece))
            ranks.insert(*rank);
        if (volumeOf(piece.region) == elementCount(units).value_or(0)) {
            ++copies;
        } else if (const auto* box = std::get_if<BoxView>(&piece.region)) {
            boxes.emplace(std::vector(box->offset.begin(), box->offset.end()), std::vector(box->extent.begin(), box->extent.end()));
            for (std::size_t dim = 0; dim < box->extent.size(); ++dim)
                if (box->extent[dim] != units[dim])
                    dims.insert(dim);
        } else {
            isFlat = true;
        }
    }
    const QString on = ranks.size() > 1 ? said(", on %1 ranks").arg(numberText(ranks.size())) : QString();
    if (pieces == 0)
        return said("Nobody holds a part of it.");
    if (copies == pieces)
        return pieces == 1 ? said("Not divided: one piece.") : said("Not divided: %1 equal copies%2.").arg(numberText(pieces), on);
    if (isFlat || dims.empty())
        return said("Cut into runs of elements, row by row: %1 pieces%2.").arg(numberText(pieces), on);
    QStringList names;
    for (const std::size_t dim : dims)
        names << QString::number(dim);
    if (boxes.size() == 1)
        return said("Cut along dimension %1, and one part of it is held%2.").arg(names.join(QStringLiteral(", ")), on);
    return dims.size() == 1 ? said("Cut along dimension %1 into %2 parts%3.").arg(names.front(), numberText(boxes.size()), on)
                            : said("Cut along dimensions %1 into %2 boxes%3.").arg(names.join(QStringLiteral(", ")), numberText(boxes.size()), on);
}

} // namespace shardlens::ui
