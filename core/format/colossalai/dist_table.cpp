#include "core/format/colossalai/dist_table.h"

#include "core/base/text.h"

#include <fmt/format.h>

#include <algorithm>
#include <limits>

namespace shardlens::colossalai {
namespace {

constexpr std::size_t kBoxesCompared = 256; // every two of them

std::string boxText(ShapeView offsets, ShapeView lengths)
{
    return fmt::format("offsets {} and lengths {}", shapeText(offsets), shapeText(lengths));
}

Box boxOf(ShapeView offsets, ShapeView lengths)
{
    return {Shape(offsets.begin(), offsets.end()), Shape(lengths.begin(), lengths.end())};
}

} // namespace

std::optional<std::size_t> DistTable::find(const std::string& name) const
{
    const auto at = m_byName.find(name);
    return at == m_byName.end() ? std::nullopt : std::optional(at->second);
}

void DistTable::add(std::uint32_t dist, DistMeta meta)
{
    const auto firstFile = static_cast<std::uint32_t>(m_files.size());
    for (std::string& value : meta.files)
        m_files.push_back({std::move(value), dist});
    for (DistEntry& entry : meta.entries) {
        const auto [at, isNew] = m_byName.try_emplace(entry.name, m_tensors.size());
        if (isNew) {
            DistTensor tensor;
            tensor.name = std::move(entry.name);
            tensor.global = entry.global;
            m_tensors.push_back(std::move(tensor));
        }
        DistTensor& tensor = m_tensors[at->second];
        if (!tensor.parts.empty() && tensor.parts.back().dist == dist) { // of two of one name the last counts
            m_repeated.emplace_back(tensor.name, dist);
            tensor.parts.pop_back();
        }
        if (!tensor.problem.empty())
            continue;
        if (!entry.problem.empty()) {
            tensor.problem = fmt::format("entry {}: {}", printable(tensor.name), entry.problem);
            tensor.problemDist = dist;
            continue;
        }
        if (entry.global != tensor.global) {
            const std::uint32_t other = tensor.parts.empty() ? dist : tensor.parts.front().dist;
            tensor.problem = fmt::format("entry {}: global_shape is {}, and {} in the metadata of dist id {}: files of two models or runs are mixed", printable(tensor.name),
                                         shapeText(entry.global),
                                         shapeText(tensor.global), other);
            tensor.problemDist = dist;
            continue;
        }
        tensor.parts.push_back({dist, firstFile + entry.file, m_pool.size()});
        m_pool.insert(m_pool.end(), entry.offsets.begin(), entry.offsets.end());
        m_pool.insert(m_pool.end(), entry.lengths.begin(), entry.lengths.end());
    }
}

// Every box lies inside the tensor; one that is too long along the first dimension only is a padded vocabulary (§3.4).
void DistTable::checkBoxes(DistTensor& tensor) const
{
    for (const DistPart& part : tensor.parts) {
        const ShapeView from = offsets(tensor, part);
        const ShapeView extent = lengths(tensor, part);
        for (std::size_t dim = 0; dim < tensor.global.size(); ++dim) {
            if (from[dim] <= tensor.global[dim] && extent[dim] <= tensor.global[dim] - from[dim])
                continue;
            const bool isPadded = dim == 0 && tensor.global.size() <= 2 && from[0] == 0 && (from.size() == 1 || (from[1] == 0 && extent[1] == tensor.global[1]));
            if (isPadded) {
                tensor.order = PartOrder::Padded;
                continue;
            }
            tensor.problem = fmt::format("entry {}: {} reach beyond global_shape {} along dimension {}", printable(tensor.name), boxText(from, extent), shapeText(tensor.global),
                                         dim);
            tensor.problemDist = part.dist;
            return;
        }
    }
    if (tensor.order != PartOrder::Padded)
        return;
    for (const DistPart& part : tensor.parts)
        if (!std::ranges::equal(lengths(tensor, part), lengths(tensor, tensor.parts.front())) || offsets(tensor, part)[0] != 0) {
            tensor.problem = fmt::format("entry {}: {} reach beyond global_shape {}, and dist id {} has {}: no padded vocabulary that could be repaired", printable(tensor.name),
                                         boxText(offsets(tensor, tensor.parts.front()), lengths(tensor, tensor.parts.front())), shapeText(tensor.global), part.dist,
                                         boxText(offsets(tensor, part), lengths(tensor, part)));
            tensor.problemDist = part.dist;
            return;
        }
}

// Equal slices along one dimension, as a run writes them; replicas may repeat a slice, and slices may be missing.
void DistTable::findSlices(DistTensor& tensor) const
{
    const ShapeView first = lengths(tensor, tensor.parts.front());
    std::optional<std::size_t> dim;
    for (std::size_t i = 0; i < tensor.global.size(); ++i) {
        if (first[i] == tensor.global[i])
            continue;
        if (dim || first[i] == 0 || tensor.global[i] % first[i] != 0)
            return;
        dim = i;
    }
    if (!dim)
        return;
    for (const DistPart& part : tensor.parts)
        if (!std::ranges::equal(lengths(tensor, part), first) || offsets(tensor, part)[*dim] % first[*dim] != 0)
            return;
    const std::uint64_t slices = tensor.global[*dim] / first[*dim];
    if (slices > std::numeric_limits<std::uint32_t>::max())
        return;
    tensor.dim = dim;
    tensor.slices = static_cast<std::uint32_t>(slices);
}

void DistTable::findOverlaps(DistTensor& tensor) const
{
    std::vector<Box> boxes;
    for (const DistPart& part : tensor.parts)
        boxes.push_back(boxOf(offsets(tensor, part), lengths(tensor, part)));
    std::sort(boxes.begin(), boxes.end());
    const auto end = std::unique(boxes.begin(), boxes.end());
    tensor.hasReplicas = end != boxes.end();
    boxes.erase(end, boxes.end());
    if (boxes.size() < 2 || tensor.dim) // equal slices at multiples of their length are equal or apart
        return;
    if (boxes.size() > kBoxesCompared) {
        tensor.overlaps = true; // not known: values are compared where it matters
        return;
    }
    for (std::size_t i = 0; i < boxes.size() && !tensor.overlaps; ++i)
        for (std::size_t j = i + 1; j < boxes.size() && !tensor.overlaps; ++j)
            tensor.overlaps = intersect(BoxView(boxes[i]), BoxView(boxes[j])).volume() != 0;
}

void DistTable::judgeFused(DistTensor& tensor, const RuleSet& rules) const
{
    const bool isWhole = std::all_of(tensor.parts.begin(), tensor.parts.end(), [&](const DistPart& part) { return std::ranges::equal(lengths(tensor, part), tensor.global); });
    if (isWhole)
        return;
    const auto found = rules.ruleFor(tensor.name, {});
    const ShardRule* rule = found ? *found : nullptr;
    const bool isFused = rule != nullptr && rule->isSegmented();
    if (!isFused || (tensor.dim && *tensor.dim != rule->dim))
        return;
    auto division = tensor.dim ? divisionOf(*rule, tensor.global, tensor.slices, {}) : Result<Division>(Error{ErrorCode::Refused, "its parts are no equal slices"});
    if (!division) {
        tensor.problem = fmt::format("entry {}: by the rules it is fused ({}), and so its parts cannot be put in order: {}", printable(tensor.name), printable(rule->text()),
                                     division.error().text());
        tensor.problemDist = tensor.parts.front().dist;
        return;
    }
    tensor.order = PartOrder::Fused;
    tensor.division = division.take();
}

void DistTable::judge(DistTensor& tensor) const
{
    checkBoxes(tensor);
    if (!tensor.problem.empty() || tensor.order == PartOrder::Padded)
        return;
    findSlices(tensor);
    findOverlaps(tensor);
}

void DistTable::finish(const RuleSet& rules, const std::set<std::uint32_t>& dists)
{
    for (DistTensor& tensor : m_tensors) {
        if (tensor.problem.empty() && !tensor.parts.empty())
            judge(tensor);
        if (tensor.problem.empty() && tensor.order == PartOrder::Padded) { // only a vocabulary is padded (§13)
            const auto rule = rules.ruleFor(tensor.name, {});
            if (!rule || *rule == nullptr || !(*rule)->vocabulary) {
                const DistPart& part = tensor.parts.front();
                tensor.problem = fmt::format("entry {}: {} reach beyond global_shape {} along dimension 0, and by the rules it is no vocabulary, which alone is padded", printable(tensor.name),
                                             boxText(offsets(tensor, part), lengths(tensor, part)), shapeText(tensor.global));
                tensor.problemDist = part.dist;
            }
        }
        if (tensor.problem.empty() && !tensor.parts.empty() && tensor.order == PartOrder::Plain)
            judgeFused(tensor, rules);
    }
    m_grid = gridOf(dists);
}

// Split tensors say the tensor-parallel size, and which dist id begins a stage (§3.7). Without one the number of dist ids that share a name does.
std::optional<DistGrid> DistTable::gridOf(const std::set<std::uint32_t>& dists) const
{
    std::uint64_t tp = 0;
    std::uint64_t shared = 1;
    std::uint64_t last = dists.empty() ? 0 : *dists.rbegin();
    for (const DistTensor& tensor : m_tensors) {
        if (!tensor.problem.empty())
            continue;
        shared = std::max<std::uint64_t>(shared, tensor.parts.size());
        const bool isIrregular = !tensor.dim && tensor.order != PartOrder::Padded
                                 && std::any_of(tensor.parts.begin(), tensor.parts.end(), [&](const DistPart& part) { return !std::ranges::equal(lengths(tensor, part),
                                                                                                                                                 tensor.global); });
        if (isIrregular || (tensor.dim && tp != 0 && tp != tensor.slices))
            return std::nullopt;
        if (!tensor.dim)
            continue;
        tp = tensor.slices;
        for (const DistPart& part : tensor.parts) {
            const std::uint64_t slice = offsets(tensor, part)[*tensor.dim] / lengths(tensor, part)[*tensor.dim];
            if (part.dist % tp != slice)
                return std::nullopt;
            last = std::max(last, part.dist - slice + tp - 1);
        }
    }
    DistGrid out;
    tp = tp == 0 ? shared : tp;
    const std::uint64_t pp = last / tp + 1;
    if (tp * pp > (1u << 20))
        return std::nullopt;
    out.tp = static_cast<std::uint32_t>(tp);
    out.pp = static_cast<std::uint32_t>(pp);
    for (std::uint32_t dist = 0; dist < out.count(); ++dist)
        if (!dists.contains(dist))
            out.missing.push_back(dist);
    return out;
}

std::vector<Slab> DistTable::slabs(const DistTensor& tensor, const DistPart& part) const
{
    if (tensor.order == PartOrder::Fused)
        return slabsOf(tensor.division, tensor.global, static_cast<std::uint32_t>(offsets(tensor, part)[*tensor.dim] / lengths(tensor, part)[*tensor.dim]));
    if (tensor.order == PartOrder::Padded) {
        const bool isFirst = m_grid ? part.dist % m_grid->tp == 0 : part.dist == tensor.parts.front().dist;
        return isFirst ? std::vector<Slab>{wholeSlab(tensor.global)} : std::vector<Slab>{};
    }
    Slab out{boxOf(offsets(tensor, part), lengths(tensor, part)), boxOf(offsets(tensor, part), lengths(tensor, part))};
    std::fill(out.from.offset.begin(), out.from.offset.end(), 0);
    return {out};
}

std::vector<Box> DistTable::missingBoxes(const DistTensor& tensor, std::uint32_t dist) const
{
    if (!m_grid || !tensor.problem.empty() || tensor.parts.empty() || tensor.parts.front().dist / m_grid->tp != dist / m_grid->tp)
        return {};
    const std::uint32_t rank = dist % m_grid->tp;
    std::vector<Box> out;
    if (tensor.order == PartOrder::Fused) {
        for (const Slab& slab : slabsOf(tensor.division, tensor.global, rank))
            out.push_back(slab.to);
    } else if (tensor.dim) {
        Box box = boxOf(Shape(tensor.global.size(), 0), lengths(tensor, tensor.parts.front()));
        box.offset[*tensor.dim] = rank * box.extent[*tensor.dim];
        out.push_back(std::move(box));
    } else if (tensor.order == PartOrder::Padded && rank == 0) {
        out.push_back(boxOf(Shape(tensor.global.size(), 0), tensor.global));
    }
    return out;
}

} // namespace shardlens::colossalai
