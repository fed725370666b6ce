#include "core/format/colossalai/target_model.h"

#include "core/base/text.h"
#include "core/format/colossalai/target_flat.h"
#include "core/format/target_file.h"

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include <algorithm>
#include <charconv>
#include <map>
#include <set>

namespace shardlens::colossalai {
namespace {

constexpr double kMib = 1024.0 * 1024.0;

std::string divisorsText(std::uint64_t number)
{
    std::string out;
    for (std::uint64_t i = 1; i <= number && i <= 4096; ++i)
        if (number % i == 0)
            out += (out.empty() ? "" : ", ") + std::to_string(i);
    return out;
}

// Along which dimension the ranks cut a tensor; nothing where each holds all of it (§14).
Result<std::optional<std::size_t>> cutOf(const std::string& name, const Tensor& tensor, const RuleSet& rules, std::uint32_t tp)
{
    const std::optional<std::size_t> whole;
    if (tp == 1)
        return whole;
    SHARDLENS_ASSIGN(const ShardRule* rule, rules.ruleFor(name, {}));
    if (rule == nullptr || rule->kind != Division::Kind::Split || rule->isSegmented() || rule->dim >= tensor.shape.size() || info(tensor.dtype).valuesPerBlock != 1)
        return whole;
    const std::uint64_t extent = tensor.shape[rule->dim];
    if (extent < tp) // such a layer is left unsplit (§8.1)
        return whole;
    if (extent % tp == 0)
        return std::optional(rule->dim);
    if (rule->vocabulary)
        return whole;
    return Error{ErrorCode::Refused, fmt::format("{} {}: dimension {} of {} cannot be divided by tensor parallel {}; {} can", printable(name), shapeText(tensor.shape), rule->dim,
                                                 plural(extent, "element", "elements"), tp, divisorsText(extent))};
}

// "model.layers.7." is layer 7 of the row "model.layers."
struct LayerName {
    std::string row;
    std::uint64_t number = 0;
};
std::optional<LayerName> layerNameOf(const RuleSet& rules, const std::string& name)
{
    for (const Regex& pattern : rules.layers) {
        const auto groups = pattern.groups(name);
        if (!groups || groups->size() < 2 || (*groups)[1].empty())
            continue;
        const std::string_view digits = (*groups)[1];
        LayerName out{name.substr(0, static_cast<std::size_t>(digits.data() - name.data())), 0};
        const auto [end, problem] = std::from_chars(digits.data(), digits.data() + digits.size(), out.number);
        if (problem == std::errc{} && end == digits.data() + digits.size())
            return out;
    }
    return std::nullopt;
}

// Layers over stages; what is in no layer goes to the first or the last by the rules.
class StagePlan {
public:
    // `names`: of the whole model, so that a part of it goes where it would in the whole.
    StagePlan(const RuleSet& rules, const std::vector<std::string>& names) : m_rules(rules)
    {
        for (const std::string& name : names) {
            const auto layer = layerNameOf(rules, name);
            if (!layer)
                continue;
            const auto [at, isNew] = m_rows.try_emplace(layer->row);
            if (isNew)
                m_order.push_back(layer->row);
            at->second.emplace(layer->number, 0);
        }
        for (const std::string& row : m_order)
            for (auto& [number, place] : m_rows.at(row))
                place = m_layers++;
    }

    Status divide(std::uint32_t stages)
    {
        m_stages = stages;
        if (stages > 1 && m_layers < stages)
            return Error{ErrorCode::Refused, fmt::format("{} cannot be divided over {} pipeline stages: each needs one at least{}", plural(m_layers, "layer", "layers"), stages,
                                                         m_layers == 0 ? "; the names of the tensors number no layers" : "")};
        std::uint32_t stage = 0;
        for (const std::uint64_t count : ModelPlacement::layersOfStages(m_layers, stages)) {
            m_stageOf.insert(m_stageOf.end(), count, stage);
            ++stage;
        }
        return {};
    }

    [[nodiscard]] std::uint32_t stageOf(const std::string& name) const
    {
        const auto layer = layerNameOf(m_rules, name);
        const auto row = layer ? m_rows.find(layer->row) : m_rows.end();
        const auto place = row == m_rows.end() ? std::map<std::uint64_t, std::uint64_t>::const_iterator{} : row->second.find(layer->number);
        if (row != m_rows.end() && place != row->second.end()) // a tied name may be in no layer of the model's own names
            return m_stageOf[place->second];
        for (const StageRule& rule : m_rules.stages)
            if (rule.pattern.search(name))
                return rule.place == StageRule::Place::First ? 0 : m_stages - 1;
        return 0;
    }

private:
    const RuleSet& m_rules;
    std::map<std::string, std::map<std::uint64_t, std::uint64_t>> m_rows; // number of a layer → its place among all
    std::vector<std::string> m_order;
    std::uint64_t m_layers = 0;
    std::uint32_t m_stages = 1;
    std::vector<std::uint32_t> m_stageOf;
};

// As json.dump(indent=4) writes it.
std::string listLines(ShapeView numbers)
{
    if (numbers.empty())
        return "[]";
    return fmt::format("[\n                {}\n            ]", fmt::join(numbers, ",\n                "));
}

} // namespace

std::vector<std::uint64_t> ModelPlacement::layersOfStages(std::uint64_t layers, std::uint32_t stages)
{
    std::vector<std::uint64_t> out(stages, layers / stages);
    const std::uint64_t rest = layers % stages;
    const std::uint64_t start = stages / 2 - rest / 2;
    for (std::uint64_t i = start; i < start + rest; ++i)
        ++out[i];
    return out;
}

Status ModelPlacement::place(const Checkpoint& source, const RuleSet& rules, const TargetShape& shape, std::vector<ModelTensor>& tensors)
{
    StagePlan stages(rules, source.parameters());
    SHARDLENS_TRY(stages.divide(shape.pp));
    for (ModelTensor& tensor : tensors) {
        tensor.stage = stages.stageOf(tensor.name);
        if (!tensor.isBuffer) {
            SHARDLENS_ASSIGN(tensor.dim, cutOf(tensor.name, source.tensor(tensor.source), rules, shape.tp));
        }
    }
    std::vector<std::size_t> order(tensors.size());
    std::vector<std::size_t> placeOf(tensors.size());
    for (std::size_t i = 0; i < order.size(); ++i)
        order[i] = i;
    std::stable_sort(order.begin(), order.end(), [&](std::size_t a, std::size_t b) { return tensors[a].stage < tensors[b].stage; });
    std::vector<ModelTensor> sorted;
    for (std::size_t i = 0; i < order.size(); ++i) {
        placeOf[order[i]] = i;
        sorted.push_back(std::move(tensors[order[i]]));
    }
    for (ModelTensor& tensor : sorted)
        if (tensor.tiedTo)
            tensor.tiedTo = placeOf[*tensor.tiedTo];
    tensors = std::move(sorted);
    return {};
}

Result<ModelWriter::Part> ModelWriter::partOf(const ModelTensor& tensor, std::uint32_t rank)
{
    const Tensor& whole = m_source.tensor(tensor.source);
    Part out{&tensor, tensor.source, whole.shape, Shape(whole.shape.size(), 0), 0, {}};
    if (tensor.dim) {
        Slab slab = wholeSlab(whole.shape);
        const std::uint64_t extent = whole.shape[*tensor.dim] / m_shape.tp;
        slab.from.offset[*tensor.dim] = out.offsets[*tensor.dim] = extent * rank;
        slab.from.extent[*tensor.dim] = slab.to.extent[*tensor.dim] = out.shape[*tensor.dim] = extent;
        Tensor local = whole;
        local.shape = out.shape;
        out.id = m_payload.addTensor(local);
        SHARDLENS_TRY(m_import.addThrough(out.id, tensor.source, slab));
    }
    out.sizeBytes = bytesOf(tensor.dtype, elementCount(out.shape).value_or(0)).value_or(0);
    return out;
}

Result<std::vector<ModelWriter::Part>> ModelWriter::partsOf(const std::vector<ModelTensor>& tensors, std::uint32_t stage, std::uint32_t rank)
{
    std::vector<Part> out;
    std::map<const ModelTensor*, std::size_t> placeOf;
    for (auto at = std::ranges::lower_bound(tensors, stage, {}, &ModelTensor::stage); at != tensors.end() && at->stage == stage; ++at) { // sorted by stage
        const ModelTensor& tensor = *at;
        const auto first = tensor.tiedTo && m_shape.container == Container::Bin ? placeOf.find(&tensors[*tensor.tiedTo]) : placeOf.end();
        if (first != placeOf.end() && tensor.dim == first->first->dim && tensor.dtype == first->first->dtype) {
            out[first->second].ties.push_back(&tensor);
            continue;
        }
        auto part = partOf(tensor, rank);
        if (!part)
            return part.takeError().within(printable(tensor.name));
        placeOf.emplace(&tensor, out.size());
        out.push_back(part.take());
    }
    return out;
}

Status ModelWriter::addShard(const std::string& name, std::uint32_t dist, std::span<const Part> parts, Target& out)
{
    if (m_shape.container == Container::Safetensors) {
        std::vector<FlatEntry> entries;
        for (const Part& part : parts)
            entries.push_back({part.tensor->name, part.tensor->dtype, part.shape, part.id, std::nullopt});
        SHARDLENS_ASSIGN(TargetFlatFile file, safetensorsFile(std::move(entries), {{"format", "pt"}}, false));
        file.name = name;
        file.rank = dist;
        out.flatFiles.push_back(std::move(file));
        return {};
    }
    const StorageTensors none;
    TargetFileMaker maker(none, false, name);
    const pickle::Value dict = maker.graph().dict();
    for (const Part& part : parts) {
        if (const auto problem = foreignDType(part.tensor->name, part.tensor->dtype, false))
            return Error{ErrorCode::Refused, *problem};
        const std::uint64_t values = elementCount(part.shape).value_or(0);
        std::vector<TargetRun> runs;
        if (values != 0)
            runs.push_back({part.id, part.tensor->dtype, 0, values, 0});
        SHARDLENS_ASSIGN(const pickle::Value tensor, maker.tensor(part.tensor->dtype, part.shape, std::move(runs)));
        maker.graph().set(dict, part.tensor->name, tensor);
        for (const ModelTensor* tie : part.ties) {
            SHARDLENS_ASSIGN(const pickle::Value again, maker.tree().tensor(maker.lastStorage(), tie->dtype, part.shape));
            maker.graph().set(dict, tie->name, again);
        }
    }
    std::set<std::string> leftOut;
    SHARDLENS_ASSIGN(TargetTorchFile file, std::move(maker).finish(dict, leftOut));
    file.rank = dist;
    out.torchFiles.push_back(std::move(file));
    return {};
}

std::string ModelWriter::metadataText(std::span<const Part> parts, const std::vector<std::string>& files, std::uint32_t dist) const
{
    std::uint64_t bytes = 0;
    std::string entries;
    for (std::size_t i = 0; i < parts.size(); ++i) {
        const Part& part = parts[i];
        bytes += part.sizeBytes;
        if (part.tensor->isBuffer) // as the original: buffers have no entry
            continue;
        const auto quoted = [](const std::string& text) { return nlohmann::json(text).dump(-1, ' ', true); };
        entries += fmt::format("{}\n        {}: {{\n            \"offsets\": {},\n            \"lengths\": {},\n            \"global_shape\": {},\n            \"file\": {},\n            \"rank\": {}\n        }}",
                               entries.empty() ? "" : ",", quoted(part.tensor->name), listLines(part.offsets), listLines(part.shape), listLines(m_source.tensor(part.tensor->source).shape), quoted(files[i]),
                               dist);
    }
    return fmt::format("{{\n    \"checkpoint_version\": \"1.0\",\n    \"total_size\": {},\n    \"metadata\": {{{}{}}}\n}}", nlohmann::json(static_cast<double>(bytes) / kMib).dump(),
                       entries,
                       entries.empty() ? "" : "\n    ");
}

Status ModelWriter::add(const std::vector<ModelTensor>& tensors, JobContext& job, Target& out)
{
    for (std::uint32_t dist = 0; dist < m_shape.tp * m_shape.pp; ++dist) {
        SHARDLENS_TRY(job.poll());
        if (m_shape.rank && *m_shape.rank != dist)
            continue;
        SHARDLENS_ASSIGN(const std::vector<Part> parts, partsOf(tensors, dist / m_shape.tp, dist % m_shape.tp));
        std::vector<std::string> files;
        std::size_t begin = 0;
        std::uint64_t sum = 0;
        std::size_t shard = 0;
        const auto flush = [&](std::size_t end) -> Status {
            const std::string name = distShardName(m_shape.prefix, dist, shard++, m_shape.container);
            files.resize(end, name);
            Status status = addShard(m_folder + name, dist, std::span(parts).subspan(begin, end - begin), out);
            begin = end;
            sum = 0;
            return status;
        };
        for (std::size_t i = 0; i < parts.size(); ++i) {
            if (sum > 0 && parts[i].sizeBytes > m_shape.shardBytes - std::min(sum, m_shape.shardBytes))
                SHARDLENS_TRY(flush(i));
            sum += parts[i].sizeBytes;
        }
        SHARDLENS_TRY(flush(parts.size())); // the last one always, empty or not
        out.textFiles.push_back({m_folder + metaName(dist, m_shape.container), metadataText(parts, files, dist)});
    }
    return {};
}

} // namespace shardlens::colossalai
