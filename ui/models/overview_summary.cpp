#include "ui/models/overview_summary.h"

#include "core/base/text.h"
#include "core/model/coverage.h"

#include <algorithm>
#include <map>
#include <tuple>
#include <optional>

namespace shardlens::ui {
namespace {

constexpr std::size_t kPollEvery = 4096; // tensors
constexpr std::size_t kListNoHole = 0;

class Summariser {
public:
    Summariser(const CheckpointPtr& checkpoint, const std::stop_token& stop) : m_checkpoint(*checkpoint), m_pointer(checkpoint), m_stop(stop) {}

    std::shared_ptr<const OverviewSummary> run()
    {
        nameStates();
        for (std::size_t i = 0; i < m_checkpoint.tensors().size(); ++i) {
            if (i % kPollEvery == 0 && m_stop.stop_requested())
                return nullptr;
            addTensor(idAt<TensorId>(i));
        }
        takePlaces();
        m_out->model = AtlasModel::build(m_pointer, {AtlasRows::RankFile, AtlasAcross::ParameterOrder, false, true}, m_stop);
        if (!m_out->model)
            return nullptr;
        m_out->classes = AtlasPalette::build(*m_out->model, AtlasColour::Parameter, ParameterClasses::builtIn());
        findModules();
        return m_out;
    }

private:
    using StateKey = std::tuple<RoleId, DType, bool>;
    static StateKey keyOf(const Tensor& tensor) { return {tensor.role, tensor.dtype, tensor.quantizedPart}; }

    // The order in which states are shown: what the module holds, then the optimizer's, the master last.
    static int orderOf(const Role& role)
    {
        switch (role.kind) {
        case RoleKind::Module: return 0;
        case RoleKind::Buffer: return 1;
        case RoleKind::OptimizerState: return 2;
        case RoleKind::Weight: return 3;
        case RoleKind::Other: return 4;
        }
        return 4;
    }

    void nameStates()
    {
        std::map<StateKey, StateUse> found;
        for (const Tensor& tensor : m_checkpoint.tensors())
            found.try_emplace(keyOf(tensor), StateUse{.role = tensor.role, .dtype = tensor.dtype, .quantized = tensor.quantizedPart});
        for (const auto& [key, use] : found)
            m_out->states.push_back(use);
        std::stable_sort(m_out->states.begin(), m_out->states.end(), [this](const StateUse& a, const StateUse& b) {
            return orderOf(m_checkpoint.roles()[indexOf(a.role)]) < orderOf(m_checkpoint.roles()[indexOf(b.role)]);
        });
        for (std::size_t i = 0; i < m_out->states.size(); ++i)
            m_stateOf.emplace(StateKey{m_out->states[i].role, m_out->states[i].dtype, m_out->states[i].quantized}, i);
        m_valuesOf.resize(m_checkpoint.parameters().size());
    }

    void addTensor(TensorId id)
    {
        const Tensor& tensor = m_checkpoint.tensor(id);
        const std::size_t state = m_stateOf.at(keyOf(tensor));
        StateUse& use = m_out->states[state];
        ++use.tensors;
        use.bytes += m_checkpoint.bytesOf(id);
        const RoleKind kind = m_checkpoint.roleOf(id).kind;
        m_out->optimizerStates += kind == RoleKind::OptimizerState ? 1 : 0;
        m_out->others += kind == RoleKind::Other ? 1 : 0;
        countModel(tensor, kind);
        const PieceStore& pieces = m_checkpoint.pieces();
        for (std::size_t row = pieces.firstOf(id); row < pieces.lastOf(id); ++row)
            addPiece(pieces.at(idAt<PieceId>(row)), tensor, state);
        const Coverage coverage = coverageOf(m_checkpoint, id, kListNoHole);
        if (coverage.complete())
            return;
        if (m_out->incompleteTensors++ == 0)
            m_out->firstIncomplete = id;
        m_out->missingCells += coverage.missingCells;
    }

    // The values of a parameter count once, whatever copies there are of it.
    void countModel(const Tensor& tensor, RoleKind kind)
    {
        if (!isPartOfModel(kind))
            return;
        std::optional<std::uint64_t>& known = m_valuesOf[indexOf(tensor.parameter)];
        m_out->parameters += known ? 0 : 1;
        m_out->hasCodes = m_out->hasCodes || tensor.quantizedPart;
        const std::uint64_t values = elementCount(tensor.shape).value_or(0);
        m_out->parameterValues += values > known.value_or(0) ? values - known.value_or(0) : 0;
        known = std::max(values, known.value_or(0));
    }

    void addPiece(const Piece& piece, const Tensor& tensor, std::size_t state)
    {
        const Stream& stream = m_checkpoint.stream(piece.source.stream);
        if (stream.kind == Stream::Kind::Missing)
            return;
        const std::uint64_t bytes = volumeOf(piece.region) * info(tensor.dtype).bytesPerBlock;
        m_out->states[state].storedBytes += bytes;
        if (const auto rank = m_checkpoint.rankOfPiece(piece))
            add(m_ranks[*rank], state, bytes);
        if (stream.file != kNoFile)
            add(m_files[stream.file], state, bytes);
    }

    void add(PlaceUse& use, std::size_t state, std::uint64_t bytes) const
    {
        use.bytes.resize(m_out->states.size());
        use.bytes[state] += bytes;
        use.total += bytes;
    }

    void takePlaces()
    {
        for (const File& file : m_checkpoint.files())
            if (file.state != File::State::Read && file.rank)
                m_ranks[*file.rank].missing = true;
        m_out->byRank = !m_ranks.empty();
        for (auto& [rank, use] : m_ranks) {
            use.rank = rank;
            use.bytes.resize(m_out->states.size());
            m_out->places.push_back(std::move(use));
        }
        if (m_out->byRank)
            return;
        for (auto& [file, use] : m_files) {
            use.file = file;
            m_out->places.push_back(std::move(use));
        }
    }

    void findModules()
    {
        const AtlasModel& model = *m_out->model;
        std::vector<std::pair<AtlasSpan, std::uint32_t>> runs; // with their modules
        for (std::size_t i = 0; i < model.lanes().size(); ++i) {
            const AtlasLane& lane = model.lanes()[i];
            if (lane.states.empty() || !isPartOfModel(m_checkpoint.roles()[indexOf(lane.states.front().role)].kind))
                continue;
            const bool isCopy = m_checkpoint.roles()[indexOf(lane.states.front().role)].kind == RoleKind::Module;
            (isCopy ? m_out->copyLanes : m_out->weightLanes).push_back(i);
            for (const AtlasRun& run : lane.runs)
                runs.push_back({{run.begin, run.end}, run.module});
        }
        std::sort(runs.begin(), runs.end(), [](const auto& a, const auto& b) { return a.first.begin < b.first.begin; });
        std::optional<std::uint32_t> last; // a module whose buffers come behind those of others has several stretches
        for (const auto& [span, module] : runs) {
            if (last != module)
                m_out->modules.push_back({span, model.modules()[module].label, model.modules()[module].odd});
            m_out->modules.back().end = std::max(m_out->modules.back().end, span.end);
            last = module;
        }
    }

    const Checkpoint& m_checkpoint;
    CheckpointPtr m_pointer;
    const std::stop_token& m_stop;
    std::shared_ptr<OverviewSummary> m_out = std::make_shared<OverviewSummary>();
    std::map<StateKey, std::size_t> m_stateOf;
    std::vector<std::optional<std::uint64_t>> m_valuesOf; // by parameter; none: no part of the model
    std::map<std::uint32_t, PlaceUse> m_ranks;
    std::map<FileId, PlaceUse> m_files;
};

} // namespace

std::shared_ptr<const OverviewSummary> summarise(const CheckpointPtr& checkpoint, const std::stop_token& stop)
{
    return Summariser(checkpoint, stop).run();
}

} // namespace shardlens::ui
