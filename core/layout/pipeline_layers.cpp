#include "core/layout/pipeline_layers.h"

#include "core/base/checked.h"
#include "core/base/text.h"
#include "core/layout/parameter_use.h"

#include <fmt/format.h>

#include <algorithm>
#include <limits>
#include <map>
#include <set>

namespace shardlens {
namespace {

constexpr std::string_view kTiedModules = "tied_modules.";
constexpr std::size_t kNamesSaid = 4;

// "model.layers.7.mlp.up.weight": row "model.layers.", number 7. The first number of a name counts.
struct NumberedName {
    std::string_view row;
    std::uint32_t number = 0;
};

std::optional<NumberedName> numberedName(std::string_view name)
{
    for (std::size_t begin = 0; begin < name.size();) {
        const std::size_t dot = name.find('.', begin);
        if (dot == std::string_view::npos)
            return std::nullopt;
        if (const auto number = wholeNumber(name.substr(begin, dot - begin)))
            return NumberedName{name.substr(0, begin), *number};
        begin = dot + 1;
    }
    return std::nullopt;
}

// A name of the model with the parameter it stands for; tied names are names of their own.
struct ModelName {
    std::string_view name;
    std::size_t parameter = 0;
    bool isAlias = false; // these come last
};

std::vector<ModelName> modelNamesOf(const Checkpoint& checkpoint, const ParameterUses& uses)
{
    std::vector<ModelName> out;
    for (std::size_t i = 0; i < uses.parameters.size(); ++i)
        if (uses.parameters[i].isModel)
            out.push_back({checkpoint.parameters()[i], i, false});
    for (const Alias& alias : checkpoint.aliases())
        if (uses.parameters[indexOf(alias.parameter)].isModel)
            out.push_back({alias.name, indexOf(alias.parameter), true});
    return out;
}

std::uint64_t cappedSum(std::uint64_t a, std::uint64_t b)
{
    return checkedAdd(a, b).value_or(std::numeric_limits<std::uint64_t>::max());
}

void addTo(PipelineLayer& layer, const ModelName& name, const ParameterUses& uses)
{
    const ParameterUse& use = uses.parameters[name.parameter];
    layer.bytes = cappedSum(layer.bytes, use.bytes);
    layer.parameters.emplace_back(name.name);
    if (use.isBuffer)
        return;
    const bool trains = use.isTrainable || uses.trainableFrom == TrainableFrom::Nothing;
    std::uint64_t& count = trains ? layer.weight : layer.frozen;
    count = cappedSum(count, use.elements);
}

Error tooManyLayers(std::uint64_t number)
{
    return Error{ErrorCode::LimitExceeded,
                 fmt::format("layer number {}, less than {} are allowed", groupedText(number), groupedText(kMostLayers))};
}

// "embed.weight, norm.weight and 3 more"
std::string namesText(const std::vector<std::string>& names)
{
    std::vector<std::string> said;
    for (std::size_t i = 0; i < std::min(names.size(), kNamesSaid); ++i)
        said.push_back(printable(names[i]));
    const std::string more = names.size() > kNamesSaid ? fmt::format(" and {} more", names.size() - kNamesSaid) : "";
    return fmt::format("{}{}", fmt::join(said, ", "), more);
}

// A PipelineModule: names and files number the layers.
class PipelineRun {
public:
    PipelineRun(const Checkpoint& checkpoint, const ParameterUses& uses) : m_checkpoint(checkpoint), m_uses(uses) {}

    [[nodiscard]] Result<PipelineLayers> take(const std::vector<ModelName>& names)
    {
        for (const File& file : m_checkpoint.files())
            if (const auto number = layerNumberOfFile(file.name))
                SHARDLENS_TRY(growTo(*number));
        for (const ModelName& name : names)
            SHARDLENS_TRY(place(name));
        if (!m_unplaced.empty())
            m_out.notes.push_back(fmt::format("No file and no number says which layer holds {}: not counted.", namesText(m_unplaced)));
        m_out.isPipelineRun = true;
        m_out.notes.push_back(fmt::format(
            "Layers 0 to {} are those that files and names show: functions and tied copies behind the last one leave no trace, so "
            "the model may have more.",
            m_out.layers.size() - 1));
        return std::move(m_out);
    }

private:
    Status growTo(std::uint32_t number)
    {
        if (number >= kMostLayers)
            return tooManyLayers(number);
        while (m_out.layers.size() <= number) {
            PipelineLayer layer;
            layer.number = static_cast<std::uint32_t>(m_out.layers.size());
            layer.name = std::to_string(*layer.number);
            m_out.layers.push_back(std::move(layer));
        }
        return {};
    }

    // A tied parameter stands in every layer that has a file of it (formats/deepspeed.md §11.3).
    Status place(const ModelName& name)
    {
        std::set<std::uint32_t> at(m_uses.parameters[name.parameter].layerFiles.begin(),
                                   m_uses.parameters[name.parameter].layerFiles.end());
        const auto numbered = numberedName(name.name);
        if (numbered && numbered->row.empty())
            at.insert(numbered->number);
        if (at.empty())
            m_unplaced.emplace_back(name.name);
        for (const std::uint32_t number : at) {
            SHARDLENS_TRY(growTo(number));
            if (m_placed.insert({name.parameter, number}).second) // not again under its other name
                addTo(m_out.layers[number], name, m_uses);
        }
        return {};
    }

    const Checkpoint& m_checkpoint;
    const ParameterUses& m_uses;
    PipelineLayers m_out;
    std::set<std::pair<std::size_t, std::uint32_t>> m_placed;
    std::vector<std::string> m_unplaced;
};

bool isPipelineRun(const Checkpoint& checkpoint, const std::vector<ModelName>& names)
{
    if (std::any_of(checkpoint.files().begin(), checkpoint.files().end(),
                    [](const File& file) { return layerNumberOfFile(file.name).has_value(); }))
        return true;
    bool hasNumber = false;
    for (const ModelName& one : names) {
        const auto numbered = numberedName(one.name);
        hasNumber = hasNumber || (numbered && numbered->row.empty());
        if (!one.name.starts_with(kTiedModules) && !(numbered && numbered->row.empty()))
            return false;
    }
    return hasNumber;
}

// Any other model: rows of numbered layers, and entries for what stands before, between and behind them.
class NumberedModel {
public:
    NumberedModel(const ParameterUses& uses, const LayerOptions& options) : m_uses(uses), m_options(options) {}

    [[nodiscard]] Result<PipelineLayers> take(const std::vector<ModelName>& names)
    {
        SHARDLENS_TRY(findRows(names));
        m_between.resize(m_order.size() + 1);
        const auto ownEnd = std::find_if(names.begin(), names.end(), [](const ModelName& one) { return one.isAlias; });
        const bool isSorted = std::is_sorted(names.begin(), ownEnd, [](const ModelName& a, const ModelName& b) { return a.name < b.name; });
        std::size_t begun = 0; // rows of which a name came already
        for (const ModelName& name : names) {
            if (const auto numbered = numberedName(name.name); numbered && m_rows.contains(std::string(numbered->row))) {
                Row& row = m_rows.at(std::string(numbered->row));
                begun = std::max(begun, row.place + 1);
                addTo(row.layers.at(numbered->number), name, m_uses);
            } else {
                addTo(m_between[gapOf(name.name, begun, isSorted)], name, m_uses);
            }
        }
        return assembled(isSorted);
    }

private:
    struct Row {
        std::size_t place = 0; // among the rows, by first name
        std::map<std::uint32_t, PipelineLayer> layers;
    };

    Status findRows(const std::vector<ModelName>& names)
    {
        std::map<std::string, Row> rows;
        std::vector<std::string> order;
        for (const ModelName& name : names) {
            const auto numbered = numberedName(name.name);
            if (!numbered)
                continue;
            const std::string key(numbered->row);
            if (!rows.contains(key))
                order.push_back(key);
            rows[key].layers.try_emplace(numbered->number);
        }
        const bool hasLongRow = std::any_of(rows.begin(), rows.end(), [](const auto& row) { return row.second.layers.size() > 1; });
        for (const std::string& key : order)
            if (!hasLongRow || rows.at(key).layers.size() > 1) {
                SHARDLENS_TRY(fillRow(key, rows.at(key)));
                rows.at(key).place = m_order.size();
                m_order.push_back(key);
                m_rows.emplace(key, std::move(rows.at(key)));
            }
        if (m_order.empty())
            return Error{ErrorCode::Refused, "no names number its layers, as `model.layers.7.` does; give --weights instead of a path"};
        return {};
    }

    // Numbers without tensors are layers without parameters: functions.
    Status fillRow(const std::string& key, Row& row)
    {
        const std::uint32_t last = row.layers.rbegin()->first;
        const std::uint32_t first = row.layers.begin()->first;
        m_filled += last - first + std::uint64_t{1};
        if (last >= kMostLayers || m_filled > kMostLayers)
            return tooManyLayers(last);
        for (std::uint32_t number = first; number <= last; ++number) {
            PipelineLayer& layer = row.layers[number];
            layer.number = number;
            layer.name = key + std::to_string(number);
        }
        return {};
    }

    // Sorted names say nothing about order: there a name outside the module that holds the layers, such as a head, is taken to stand behind them.
    [[nodiscard]] std::size_t gapOf(std::string_view name, std::size_t begun, bool isSorted) const
    {
        if (m_options.before && m_options.before->search(name))
            return 0;
        if (m_options.behind && m_options.behind->search(name))
            return m_order.size();
        const std::string& row = m_order.front();
        const std::size_t dot = row.find('.');
        if (isSorted && begun == 0 && dot + 1 < row.size() && !name.starts_with(std::string_view(row).substr(0, dot + 1)))
            return m_order.size();
        return begun;
    }

    void append(PipelineLayer entry, const std::string& where)
    {
        if (entry.parameters.empty())
            return;
        m_out.notes.push_back(fmt::format("Not in a numbered layer: {}. One entry {}.", namesText(entry.parameters), where));
        entry.name = where;
        m_out.layers.push_back(std::move(entry));
    }

    PipelineLayers assembled(bool isSorted)
    {
        append(std::move(m_between.front()), "before the layers");
        for (std::size_t i = 0; i < m_order.size(); ++i) {
            for (auto& [number, layer] : m_rows.at(m_order[i]).layers)
                m_out.layers.push_back(std::move(layer));
            const bool isLast = i + 1 == m_order.size();
            append(std::move(m_between[i + 1]), isLast ? "behind the layers" : fmt::format("behind {}*", m_order[i]));
        }
        if (!m_out.notes.empty())
            m_out.notes.push_back(fmt::format("{} Patterns (--before, --behind) say what stands where.",
                                              isSorted ? "The names are sorted: their order is not the model's."
                                                       : "The order of names in files need not be the model's."));
        return std::move(m_out);
    }

    const ParameterUses& m_uses;
    const LayerOptions& m_options;
    std::map<std::string, Row> m_rows;
    std::vector<std::string> m_order;
    std::vector<PipelineLayer> m_between;
    std::uint64_t m_filled = 0;
    PipelineLayers m_out;
};

std::string trainableNote(TrainableFrom from)
{
    switch (from) {
    case TrainableFrom::Masters: return "";
    case TrainableFrom::Shapes: return "Frozen parameters are told by the shapes of the optimizer's states, in order.";
    case TrainableFrom::Ambiguous:
        return "Frozen parameters are told by the shapes of the optimizer's states, and those fit in more than one way: the first is "
               "taken.";
    case TrainableFrom::Nothing: return "No optimizer states tell which parameters are trained: all that are no buffers count.";
    }
    return "";
}

// Where the axes are stages, data and tensor, in this order (some may be missing).
std::optional<StageAxes> stageAxesOf(const Topology& topology)
{
    const auto placeOf = [](Axis axis) { return axis == Axis::Pp ? 0 : axis == Axis::Dp ? 1 : axis == Axis::Tp ? 2 : -1; };
    int last = -1;
    for (const Topology::Size& one : topology.axes) {
        if (one.size <= 1)
            continue;
        if (placeOf(one.axis) <= last)
            return std::nullopt;
        last = placeOf(one.axis);
    }
    return StageAxes{topology.sizeOf(Axis::Dp), topology.sizeOf(Axis::Tp)};
}

} // namespace

Result<PipelineLayers> pipelineLayersOf(const Checkpoint& checkpoint, const LayerOptions& options)
{
    const ParameterUses uses = parameterUsesOf(checkpoint);
    const std::vector<ModelName> names = modelNamesOf(checkpoint, uses);
    auto out = isPipelineRun(checkpoint, names) ? PipelineRun(checkpoint, uses).take(names) : NumberedModel(uses, options).take(names);
    if (!out)
        return out;
    if (std::string note = trainableNote(uses.trainableFrom); !note.empty())
        out->notes.push_back(std::move(note));
    const std::uint32_t ranks = checkpoint.topology().sizeOf(Axis::Tp);
    if (const std::uint32_t stages = checkpoint.topology().sizeOf(Axis::Pp); stages > 1)
        out->stages = stages;
    if (out->stages || ranks > 1)
        out->axes = stageAxesOf(checkpoint.topology());
    if (ranks > 1)
        out->notes.push_back(fmt::format("Parameters are counted on one of {} tensor-parallel ranks, as DeepSpeed counts them.", ranks));
    return out;
}

std::vector<std::uint64_t> weightsOf(const PipelineLayers& layers)
{
    std::vector<std::uint64_t> out;
    for (const PipelineLayer& layer : layers.layers)
        out.push_back(layer.weight);
    return out;
}

} // namespace shardlens
