#include "core/format/deepspeed/optimizer_states.h"

#include "core/base/endian.h"
#include "core/base/text.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>

namespace shardlens::deepspeed {
namespace {

// A Python number kept inline: int as I64, float as F64; bool is no state.
std::optional<std::pair<DType, std::array<std::byte, 8>>> numberOf(pickle::Value value)
{
    std::array<std::byte, 8> bytes{};
    if (value.kind() == pickle::Kind::Int) {
        storeLe(bytes.data(), value.asInt().value_or(0));
        return std::pair{DType::I64, bytes};
    }
    if (value.kind() == pickle::Kind::Float) {
        storeLe(bytes.data(), value.asFloat().value_or(0));
        return std::pair{DType::F64, bytes};
    }
    return std::nullopt;
}

Result<std::optional<GroupState>> vectorState(Run& run, std::map<std::uint32_t, TorchPieces>& pieces, const std::vector<std::uint32_t>& ranks,
                                              const std::string& name, const StateOfRank& stateOf, VectorBounds bounds, DType dtype)
{
    GroupState state{name, false, {}, {}, {}};
    auto gathered = FlatVector::gather(run, pieces, ranks, [&](std::uint32_t rank) { return stateOf(rank).find(name); }, {bounds.mostPerRank, dtype});
    if (!gathered)
        return gathered.takeError().within(fmt::format("optimizer state {}", printable(name)));
    state.vector = gathered.take();
    if (state.vector.length() < bounds.leastTotal || state.vector.longestPart() > bounds.mostPerRank)
        return std::optional<GroupState>{};
    return std::optional<GroupState>{std::move(state)};
}

} // namespace

Result<std::optional<GroupState>> scalarState(Run& run, TorchPieces& pieces, const RankFile& file, const std::string& name, pickle::Value value, HolderId holder)
{
    if (const auto number = numberOf(value)) {
        const StreamId stream = run.builder.addInline(file.id, number->second);
        return std::optional<GroupState>{GroupState{name, true, {}, {stream, 0, holder, {}}, number->first}};
    }
    if (!TorchFile::isTensor(value))
        return std::optional<GroupState>{};
    SHARDLENS_ASSIGN(const auto tensor, file.torch->tensorOf(value));
    if (!tensor.shape.empty())
        return std::optional<GroupState>{};
    return std::optional<GroupState>{GroupState{name, true, {}, pieces.placementOf(tensor, holder), tensor.dtype}};
}

Result<std::vector<GroupState>> statesOfGroup(Run& run, std::map<std::uint32_t, TorchPieces>& pieces, const std::vector<std::uint32_t>& ranks,
                                              const StateOfRank& stateOf, const StepOfRank& stepOf, VectorBounds bounds)
{
    std::vector<GroupState> out;
    const auto there = std::find_if(ranks.begin(), ranks.end(), [&](std::uint32_t rank) { return run.optimizers.at(rank).torch != nullptr; });
    const auto first = there != ranks.end() ? std::optional(*there) : run.firstOptimizer();
    if (!first)
        return out;
    const RankFile& file = run.optimizers.at(*first);
    const auto addScalar = [&](const std::string& name, pickle::Value value) -> Result<bool> {
        SHARDLENS_ASSIGN(auto scalar, scalarState(run, pieces.at(*first), file, name, value, run.anyRank()));
        if (scalar)
            out.push_back(std::move(*scalar));
        return scalar.has_value();
    };
    const pickle::Value states = stateOf(*first);
    for (std::size_t i = 0; i < states.size(); ++i) {
        const std::string name(states.keyAt(i).asText().value_or(""));
        SHARDLENS_ASSIGN(const bool isScalar, addScalar(name, states.valueAt(i)));
        if (isScalar || !TorchFile::isTensor(states.valueAt(i)))
            continue;
        SHARDLENS_ASSIGN(const TorchTensor sample, file.torch->tensorOf(states.valueAt(i)));
        SHARDLENS_ASSIGN(auto vector, vectorState(run, pieces, ranks, name, stateOf, bounds, sample.dtype));
        if (vector)
            out.push_back(std::move(*vector));
        else
            run.find(Severity::Info, "state-without-layout",
                     fmt::format("The optimizer state {} is not laid out like the masters of its group ({} elements needed); it is shown under Metadata only.",
                                 printable(name), groupedText(bounds.leastTotal)),
                     file.id);
    }
    if (states.find("step") == pickle::Value{} && states.size() > 0)
        SHARDLENS_TRY([&]() -> Status {
            SHARDLENS_ASSIGN([[maybe_unused]] const bool found, addScalar("step", stepOf(*first)));
            return {};
        }());
    return out;
}

Status addScalarState(Run& run, const std::string& parameter, const GroupState& state)
{
    const RoleId role = run.builder.role(RoleKind::OptimizerState, state.name);
    const TensorId id = run.builder.addTensor({run.builder.parameter(parameter), role, state.scalarDType, Combine::Replicas, false, {}});
    return run.builder.addWhole(id, state.scalar);
}

Result<TensorId> stateTensor(Run& run, const ModelParameter& parameter, const GroupState& state)
{
    return tensorOfParameter(run, parameter, run.builder.role(RoleKind::OptimizerState, state.name), state.vector.dtype(), Combine::Exclusive, false);
}

} // namespace shardlens::deepspeed
