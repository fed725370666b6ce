#include "core/layout/parameter_use.h"

#include "core/base/checked.h"
#include "core/base/text.h"

#include <algorithm>
#include <charconv>
#include <limits>
#include <set>

namespace shardlens {
namespace {

constexpr std::uint32_t kFirstTensorRank = 0;
constexpr std::size_t kMostDigits = 9;

std::uint64_t addedUp(std::uint64_t a, std::uint64_t b)
{
    return checkedAdd(a, b).value_or(std::numeric_limits<std::uint64_t>::max());
}

bool isOfFirstTensorRank(const Holder& holder)
{
    return std::none_of(holder.coordinates.begin(), holder.coordinates.end(),
                        [](const Holder::Coordinate& one) { return one.axis == Axis::Tp && one.index != kFirstTensorRank; });
}

// Elements that the first tensor-parallel rank holds; replicas of a region count once. 0 where no piece is known to be its own.
std::uint64_t localElements(const Checkpoint& checkpoint, TensorId id)
{
    const PieceStore& pieces = checkpoint.pieces();
    std::set<Region> seen;
    std::uint64_t sum = 0;
    for (std::size_t i = pieces.firstOf(id); i < pieces.lastOf(id); ++i) {
        const Piece piece = pieces.at(idAt<PieceId>(i));
        if (isOfFirstTensorRank(checkpoint.holder(piece.holder)) && seen.insert(copyOf(piece.region)).second)
            sum = addedUp(sum, volumeOf(piece.region));
    }
    return sum;
}

class UseCounter {
public:
    explicit UseCounter(const Checkpoint& checkpoint)
        : m_checkpoint(checkpoint), m_uses(checkpoint.parameters().size()), m_states(m_uses.size())
    {
        for (const File& file : checkpoint.files())
            m_layerOfFile.push_back(layerNumberOfFile(file.name));
    }

    ParameterUses take()
    {
        for (std::size_t i = 0; i < m_checkpoint.tensors().size(); ++i)
            count(idAt<TensorId>(i));
        bool tells = false;
        for (std::size_t i = 0; i < m_uses.size(); ++i) {
            ParameterUse& use = m_uses[i];
            const std::uint64_t all = elementCount(use.shape).value_or(std::numeric_limits<std::uint64_t>::max());
            use.elements = use.elements == 0 ? all : std::min(use.elements, all);
            use.isTrainable = use.isModel && !use.isBuffer && (use.isTrainable || (m_states[i] && m_states[i]->shape == use.shape));
            tells = tells || use.isTrainable;
            std::sort(use.layerFiles.begin(), use.layerFiles.end());
            use.layerFiles.erase(std::unique(use.layerFiles.begin(), use.layerFiles.end()), use.layerFiles.end());
        }
        const TrainableFrom from = tells ? TrainableFrom::Masters : matchNumberedStates();
        return {std::move(m_uses), from};
    }

private:
    // The largest state of a parameter: exp_avg rather than step.
    struct LargestState {
        Shape shape;
        std::uint32_t stage = 0;
    };

    void count(TensorId id)
    {
        const Tensor& tensor = m_checkpoint.tensor(id);
        const std::size_t parameter = indexOf(tensor.parameter);
        ParameterUse& use = m_uses[parameter];
        use.bytes = addedUp(use.bytes, m_checkpoint.bytesOf(id));
        switch (m_checkpoint.roleOf(id).kind) {
        case RoleKind::Weight:
        case RoleKind::Module:
            use.isTrainable = use.isTrainable || (m_checkpoint.roleOf(id).kind == RoleKind::Weight && !tensor.moduleCopy);
            countModel(id, use);
            use.isBuffer = false;
            break;
        case RoleKind::Buffer:
            use.isBuffer = !use.isModel || use.isBuffer;
            countModel(id, use);
            break;
        case RoleKind::OptimizerState: keepLargest(id, m_states[parameter]); break;
        case RoleKind::Other: break;
        }
    }

    void countModel(TensorId id, ParameterUse& use)
    {
        use.shape = m_checkpoint.tensor(id).shape;
        if (m_checkpoint.topology().sizeOf(Axis::Tp) > 1)
            use.elements = std::max(use.elements, localElements(m_checkpoint, id));
        use.isModel = true;
        const PieceStore& pieces = m_checkpoint.pieces();
        for (std::size_t i = pieces.firstOf(id); i < pieces.lastOf(id); ++i) {
            const FileId file = m_checkpoint.stream(pieces.at(idAt<PieceId>(i)).source.stream).file;
            if (file != kNoFile && m_layerOfFile[indexOf(file)])
                use.layerFiles.push_back(*m_layerOfFile[indexOf(file)]);
        }
    }

    void keepLargest(TensorId id, std::optional<LargestState>& state)
    {
        const Shape& shape = m_checkpoint.tensor(id).shape;
        if (state && elementCount(state->shape).value_or(0) >= elementCount(shape).value_or(0))
            return;
        state = LargestState{shape, 0};
        const PieceStore& pieces = m_checkpoint.pieces();
        if (pieces.countOf(id) == 0)
            return;
        const Holder& holder = m_checkpoint.holder(pieces.at(idAt<PieceId>(pieces.firstOf(id))).holder);
        for (const Holder::Coordinate& one : holder.coordinates)
            if (one.axis == Axis::Pp)
                state->stage = one.index;
    }

    // States that no parameter's name stands over, by stage and number.
    [[nodiscard]] std::vector<Shape> unnamedStates() const
    {
        std::vector<std::size_t> order;
        for (std::size_t i = 0; i < m_uses.size(); ++i)
            if (!m_uses[i].isModel && m_states[i])
                order.push_back(i);
        const auto& names = m_checkpoint.parameters();
        std::sort(order.begin(), order.end(), [&](std::size_t a, std::size_t b) {
            return m_states[a]->stage != m_states[b]->stage ? m_states[a]->stage < m_states[b]->stage : naturalLess(names[a], names[b]);
        });
        std::vector<Shape> out;
        for (const std::size_t i : order)
            out.push_back(m_states[i]->shape);
        return out;
    }

    // Parameters in model order whose shapes are those of the numbered states, in order; the ones between are frozen.
    TrainableFrom matchNumberedStates()
    {
        const std::vector<Shape> states = unnamedStates();
        if (states.empty())
            return TrainableFrom::Nothing;
        std::vector<std::size_t> candidates;
        for (std::size_t i = 0; i < m_uses.size(); ++i)
            if (m_uses[i].isModel && !m_uses[i].isBuffer)
                candidates.push_back(i);
        std::vector<std::size_t> first;
        for (const std::size_t i : candidates)
            if (first.size() < states.size() && m_uses[i].shape == states[first.size()])
                first.push_back(i);
        if (first.size() != states.size())
            return TrainableFrom::Nothing;
        std::vector<std::size_t> last;
        for (auto i = candidates.rbegin(); i != candidates.rend(); ++i)
            if (last.size() < states.size() && m_uses[*i].shape == states[states.size() - 1 - last.size()])
                last.push_back(*i);
        for (const std::size_t i : first)
            m_uses[i].isTrainable = true;
        return std::equal(first.begin(), first.end(), last.rbegin(), last.rend()) ? TrainableFrom::Shapes : TrainableFrom::Ambiguous;
    }

    const Checkpoint& m_checkpoint;
    std::vector<ParameterUse> m_uses;
    std::vector<std::optional<LargestState>> m_states;
    std::vector<std::optional<std::uint32_t>> m_layerOfFile;
};

} // namespace

ParameterUses parameterUsesOf(const Checkpoint& checkpoint)
{
    return UseCounter(checkpoint).take();
}

std::optional<std::uint32_t> layerNumberOfFile(std::string_view name)
{
    constexpr std::string_view kStart = "layer_";
    constexpr std::string_view kModel = "-model_";
    constexpr std::string_view kEnd = "-model_states.pt";
    if (const std::size_t slash = name.rfind('/'); slash != std::string_view::npos)
        name.remove_prefix(slash + 1);
    if (!name.starts_with(kStart) || !name.ends_with(kEnd) || name.size() < kStart.size() + kEnd.size())
        return std::nullopt;
    std::string_view numbers = name.substr(kStart.size(), name.size() - kStart.size() - kEnd.size());
    if (const std::size_t model = numbers.find(kModel); model != std::string_view::npos) {
        if (!wholeNumber(numbers.substr(model + kModel.size())))
            return std::nullopt;
        numbers = numbers.substr(0, model);
    }
    return wholeNumber(numbers);
}

std::optional<std::uint32_t> wholeNumber(std::string_view text)
{
    std::uint32_t out = 0;
    const auto [end, problem] = std::from_chars(text.data(), text.data() + text.size(), out);
    if (text.empty() || text.size() > kMostDigits || problem != std::errc{} || end != text.data() + text.size())
        return std::nullopt;
    return out;
}

} // namespace shardlens
