#include "core/quantized/quantize_choice.h"

#include "core/base/text.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <unordered_map>

namespace shardlens {
namespace {

constexpr std::string_view kHead = "lm_head";

// Parts of a name that say that its module is no Linear layer: looked for inside a part, or the part itself.
constexpr std::array<std::string_view, 3> kOtherInside{"embed", "norm", "ln_"};
constexpr std::array<std::string_view, 3> kOtherWhole{"wte", "wpe", "shared"};
// Linear layers that servers want as they are.
constexpr std::array<std::string_view, 4> kLeftWhole{"lm_head", "output_layer", "router", "gate"};

// Projections that servers fuse into one (formats/quantization.md §4.6).
constexpr std::array<std::array<std::string_view, 3>, 4> kFused{{{"q_proj", "k_proj", "v_proj"}, {"gate_proj", "up_proj", ""}, {"q_a_proj", "kv_a_proj_with_mqa", ""}, {"w1", "w3", ""}}};

template <typename Test>
bool anyPart(std::string_view name, const Test& test)
{
    for (std::size_t begin = 0; begin <= name.size();) {
        const std::size_t end = std::min(name.find('.', begin), name.size());
        if (test(name.substr(begin, end - begin)))
            return true;
        begin = end + 1;
    }
    return false;
}

template <std::size_t count>
bool isOneOf(std::string_view part, const std::array<std::string_view, count>& words)
{
    return std::find(words.begin(), words.end(), part) != words.end();
}

bool saysOther(std::string_view name)
{
    return anyPart(name, [](std::string_view part) {
        return isOneOf(part, kOtherWhole) || std::any_of(kOtherInside.begin(), kOtherInside.end(), [part](std::string_view word) { return part.find(word) != std::string_view::npos; });
    });
}

bool matchesAny(const std::vector<Regex>& patterns, const std::string& name)
{
    return std::any_of(patterns.begin(), patterns.end(), [&](const Regex& one) { return one.search(name); });
}

class Chooser {
public:
    Chooser(const Checkpoint& checkpoint, const QuantizeOptions& options) : m_checkpoint(checkpoint), m_options(options)
    {
        for (const Alias& alias : checkpoint.aliases())
            m_aliases[alias.parameter].push_back(&alias.name);
        m_out.overridden.assign(options.overrides.size(), 0);
    }

    Result<QuantizeChoice> run()
    {
        for (std::size_t i = 0; i < m_checkpoint.tensors().size(); ++i)
            if (isCandidate(idAt<TensorId>(i)))
                look(idAt<TensorId>(i));
        if (m_refused)
            return m_refusals == 1 ? std::move(*m_refused) : Error{m_refused->code(), fmt::format("{}; and so {} more of the weights that are chosen", m_refused->text(), m_refusals - 1)};
        std::sort(m_out.ignored.begin(), m_out.ignored.end());
        m_out.ignored.erase(std::unique(m_out.ignored.begin(), m_out.ignored.end()), m_out.ignored.end());
        m_out.leftModules = m_out.ignored.size();
        std::erase(m_out.ignored, std::string(kHead));
        const bool takesHead = std::any_of(m_out.weights.begin(), m_out.weights.end(), [](const ChosenWeight& one) { return one.name == std::string(kHead) + std::string(kWeightSuffix); });
        if (!takesHead)
            m_out.ignored.insert(m_out.ignored.begin(), std::string(kHead));
        return std::move(m_out);
    }

private:
    [[nodiscard]] bool isCandidate(TensorId id) const
    {
        const RoleKind kind = m_checkpoint.roleOf(id).kind;
        if (m_options.only && !m_options.only->contains(id))
            return false;
        return m_options.select == Select::Module ? kind == RoleKind::Module || (kind == RoleKind::Weight && m_checkpoint.tensor(id).moduleCopy) : kind == RoleKind::Weight;
    }

    // Under any of its names: a tied tensor is quantized under all, or under none.
    [[nodiscard]] bool hasName(TensorId id, const std::string& name, const std::vector<Regex>& patterns) const
    {
        const auto tied = m_aliases.find(m_checkpoint.tensor(id).parameter);
        return matchesAny(patterns, name) ||
               (tied != m_aliases.end() && std::any_of(tied->second.begin(), tied->second.end(), [&](const std::string* other) { return matchesAny(patterns, *other); }));
    }

    [[nodiscard]] std::optional<std::size_t> overrideOf(const std::string& name) const
    {
        for (std::size_t i = 0; i < m_options.overrides.size(); ++i)
            if (m_options.overrides[i].first.search(name))
                return i;
        return std::nullopt;
    }

    // The scheme that the options say for a tensor, if they take it.
    [[nodiscard]] const QuantScheme* schemeOf(TensorId id, const std::string& name) const
    {
        if (hasName(id, name, m_options.exclude) || m_options.left.contains(id))
            return nullptr;
        if (const auto over = overrideOf(name))
            return m_options.overrides[*over].second;
        if (m_options.scheme == nullptr)
            return nullptr;
        if (!m_options.include.empty())
            return hasName(id, name, m_options.include) ? m_options.scheme : nullptr;
        if (!isLinearWeightName(name))
            return nullptr;
        const auto tied = m_aliases.find(m_checkpoint.tensor(id).parameter); // an embedding under another name stays readable as one
        const bool alsoOther = tied != m_aliases.end() && std::any_of(tied->second.begin(), tied->second.end(), [](const std::string* other) { return !isLinearWeightName(*other); });
        return alsoOther ? nullptr : m_options.scheme;
    }

    void look(TensorId id)
    {
        const Tensor& tensor = m_checkpoint.tensor(id);
        const std::string& name = m_checkpoint.parameterOf(id);
        const bool floating = isFloat(tensor.dtype);
        const QuantScheme* const scheme = schemeOf(id, name);
        if (scheme != nullptr && floating && tensor.shape.size() == 2) {
            const DType dtype = m_options.dtype.value_or(tensor.dtype);
            auto layout = QuantLayout::make(*scheme, m_options.parameters, name, dtype, tensor.shape);
            if (!layout) {
                ++m_refusals;
                if (!m_refused)
                    m_refused = layout.takeError().within(printable(name));
                return;
            }
            m_out.weights.push_back({id, name, layout.take()});
            if (const auto over = overrideOf(name))
                ++m_out.overridden[*over];
            return;
        }
        if (scheme != nullptr && !floating && tensor.shape.size() == 2)
            m_out.integers.push_back(name);
        if (!floating || tensor.shape.size() != 2)
            return;
        ignore(name);
        if (const auto tied = m_aliases.find(tensor.parameter); tied != m_aliases.end())
            for (const std::string* other : tied->second)
                ignore(*other);
    }

    void ignore(const std::string& name)
    {
        if (name.ends_with(kWeightSuffix) && !saysOther(name))
            m_out.ignored.push_back(name.substr(0, name.size() - kWeightSuffix.size()));
    }

    const Checkpoint& m_checkpoint;
    const QuantizeOptions& m_options;
    std::unordered_map<ParameterId, std::vector<const std::string*>> m_aliases;
    QuantizeChoice m_out;
    std::optional<Error> m_refused; // the first weight that its scheme cannot hold
    std::size_t m_refusals = 0;
};

Error nothingChosen(const QuantizeOptions& options)
{
    if (!options.exclude.empty() || options.only)
        return {ErrorCode::Refused, "nothing to quantize: the patterns leave no matrix of floating-point values that the scheme would take; `shardlens list` shows the names"};
    if (!options.include.empty() || (options.scheme == nullptr && !options.overrides.empty()))
        return {ErrorCode::Refused, "nothing to quantize: no matrix of floating-point values has a name that the patterns match; `shardlens list` shows the names"};
    return {ErrorCode::Refused, "nothing to quantize: no tensor looks like the weight of a Linear layer (a matrix named ….weight that is no embedding, norm, head or router); --quantize-include RE says which to take"};
}

} // namespace

std::string fusedFamilyOf(const std::string& name)
{
    if (!name.ends_with(kWeightSuffix))
        return {};
    const std::string module = name.substr(0, name.size() - kWeightSuffix.size());
    const std::size_t dot = module.rfind('.');
    const std::string_view last = dot == std::string::npos ? std::string_view(module) : std::string_view(module).substr(dot + 1);
    for (const auto& fused : kFused)
        if (!last.empty() && isOneOf(last, fused))
            return module.substr(0, module.size() - last.size()) + std::string(fused.front()) + "+";
    return {};
}

bool isOtherWeightName(std::string_view name)
{
    return saysOther(name);
}

bool isLinearWeightName(std::string_view name)
{
    return name.ends_with(kWeightSuffix) && !saysOther(name) && !anyPart(name, [](std::string_view part) { return isOneOf(part, kLeftWhole); });
}

Result<QuantizeChoice> chooseWeights(const Checkpoint& checkpoint, const QuantizeOptions& options)
{
    const auto part = std::find_if(checkpoint.tensors().begin(), checkpoint.tensors().end(), [](const Tensor& tensor) { return tensor.quantizedPart; });
    if (part != checkpoint.tensors().end())
        return Error{ErrorCode::Refused, fmt::format("the source is quantized already ({} is a part of a quantized weight); --dequantize takes its values first, with what they have lost",
                                                     printable(checkpoint.parameters()[indexOf(part->parameter)]))};
    SHARDLENS_ASSIGN(QuantizeChoice choice, Chooser(checkpoint, options).run());
    if (choice.weights.empty())
        return nothingChosen(options);
    return choice;
}

} // namespace shardlens
