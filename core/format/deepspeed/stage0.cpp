#include "core/format/deepspeed/stage0.h"

#include "core/base/text.h"
#include "core/encoding/torch_pieces.h"
#include "core/format/deepspeed/optimizer_states.h"
#include "core/numeric/cast.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>

namespace shardlens::deepspeed {
namespace {

constexpr std::uint64_t kSampleCells = 16 * 1024; // compared at the start, in the middle and at the end of a large parameter

// A master that is still without a name: a view on the bytes of the file.
struct Master {
    TorchTensor tensor; // in the parameter's shape, or a stretch of a flat vector
    std::uint64_t count = 0;
};

struct Candidate0 {
    std::string name;
    TorchTensor tensor;
    std::uint64_t count = 0;
    bool used = false;
};

class Matcher {
public:
    Matcher(Run& run, const ModuleNames& names) : m_run(run)
    {
        const pickle::Value module = run.model.root().find("module");
        for (std::size_t i = 0; i < module.size(); ++i) {
            const std::string name(module.keyAt(i).asText().value_or(""));
            if (!TorchFile::isTensor(module.valueAt(i)) || names.buffers.contains(name) || names.aliases.contains(name))
                continue;
            if (auto tensor = run.model.torch->tensorOf(module.valueAt(i)); tensor && tensor->contiguous && canCast(tensor->dtype, tensor->dtype))
                m_candidates.push_back({name, tensor.take(), 0, false});
        }
        for (Candidate0& one : m_candidates)
            one.count = elementCount(one.tensor.shape).value_or(0);
    }

    // The first unused candidate of the same shape that the master casts to; the next one at all for a flat vector (`anyShape`).
    Result<Candidate0*> match(const Master& master, bool anyShape)
    {
        for (Candidate0& one : m_candidates) {
            if (one.used || (!anyShape && one.tensor.shape != master.tensor.shape) || one.count > master.count)
                continue;
            SHARDLENS_ASSIGN(const bool same, castsTo(master.tensor, one));
            if (!same)
                continue; // a frozen parameter has no master
            one.used = true;
            return &one;
        }
        return nullptr;
    }

private:
    Result<bool> castsTo(const TorchTensor& master, const Candidate0& one) const
    {
        if (!canCast(master.dtype, one.tensor.dtype))
            return false;
        const std::uint64_t sample = std::min(one.count, kSampleCells);
        for (const std::uint64_t at : {std::uint64_t{0}, (one.count - sample) / 2, one.count - sample}) {
            SHARDLENS_ASSIGN(const auto wide, cells(master, at, sample));
            SHARDLENS_ASSIGN(const auto narrow, cells(one.tensor, at, sample));
            std::vector<std::byte> cast(narrow.size());
            castValues(master.dtype, wide.data(), one.tensor.dtype, cast.data(), sample);
            if (cast != narrow)
                return false;
        }
        return true;
    }

    [[nodiscard]] Result<std::vector<std::byte>> cells(const TorchTensor& tensor, std::uint64_t at, std::uint64_t count) const
    {
        const std::uint64_t cell = info(tensor.dtype).bytesPerBlock;
        const TorchStorage& storage = m_run.model.torch->storages()[tensor.storage];
        if (storage.deflated || storage.decoded)
            return Error{ErrorCode::Unsupported, "masters in a compressed archive cannot be matched to names"};
        SHARDLENS_ASSIGN(const auto file, FileSource::open(m_run.builder.file(m_run.model.id).path));
        return readBytes(*file, storage.offset + tensor.offsetBytes + at * cell, count * cell, 1u << 20);
    }

    Run& m_run;
    std::vector<Candidate0> m_candidates;
};

// One parameter of the optimizer in its order: its name and where its master lies.
struct Named {
    std::string name;
    Shape shape;
    TorchTensor master;
};

Error unmatched(std::size_t index, const Shape& shape)
{
    return {ErrorCode::Corrupt, fmt::format("master {} {} casts to no parameter of the module that is still without one, so it cannot be named", index, shapeText(shape))};
}

// fp32_groups: lists of masters in the parameters' shapes.
Result<std::vector<Named>> namedShaped(Run& run, Matcher& matcher, pickle::Value groups)
{
    std::vector<Named> out;
    for (std::size_t g = 0; g < groups.size(); ++g)
        for (std::size_t i = 0; i < groups.at(g).size(); ++i) {
            SHARDLENS_ASSIGN(const TorchTensor tensor, run.model.torch->tensorOf(groups.at(g).at(i)));
            SHARDLENS_ASSIGN(const Candidate0* found, matcher.match({tensor, elementCount(tensor.shape).value_or(0)}, false));
            if (found == nullptr)
                return unmatched(out.size(), tensor.shape);
            out.push_back({found->name, tensor.shape, tensor});
        }
    return out;
}

// fp32_groups_flat: one vector a group, its parameters end to end.
Result<std::vector<std::vector<Named>>> namedFlat(Run& run, Matcher& matcher, pickle::Value groups)
{
    std::vector<std::vector<Named>> out;
    for (std::size_t g = 0; g < groups.size(); ++g) {
        SHARDLENS_ASSIGN(TorchTensor rest, run.model.torch->tensorOf(groups.at(g)));
        out.emplace_back();
        std::uint64_t left = elementCount(rest.shape).value_or(0);
        while (left > 0) {
            SHARDLENS_ASSIGN(const Candidate0* found, matcher.match({rest, left}, true));
            if (found == nullptr || found->count == 0)
                return unmatched(out.back().size(), rest.shape);
            Named one{found->name, found->tensor.shape, rest};
            one.master.shape = one.shape;
            out.back().push_back(std::move(one));
            rest.offsetBytes += found->count * info(rest.dtype).bytesPerBlock;
            left -= found->count;
        }
    }
    return out;
}

Status addMaster(Run& run, TorchPieces& pieces, const Named& one)
{
    const RoleId role = run.builder.role(RoleKind::Weight, "fp32 master");
    const TensorId id = run.builder.addTensor({run.builder.parameter(one.name), role, one.master.dtype, Combine::Replicas, false, one.shape});
    return pieces.addWhole(id, one.master, run.anyRank());
}

// One state of one parameter: a tensor in its own shape, or a number.
Status addState(Run& run, TorchPieces& pieces, const std::string& parameter, const std::string& state, pickle::Value value)
{
    SHARDLENS_ASSIGN(const auto scalar, scalarState(run, pieces, run.model, state, value, run.anyRank()));
    if (scalar)
        return addScalarState(run, parameter, *scalar);
    if (!TorchFile::isTensor(value))
        return {};
    SHARDLENS_ASSIGN(const TorchTensor tensor, run.model.torch->tensorOf(value));
    const RoleId role = run.builder.role(RoleKind::OptimizerState, state);
    const TensorId id = run.builder.addTensor({run.builder.parameter(parameter), role, tensor.dtype, Combine::Replicas, false, tensor.shape});
    return pieces.addWhole(id, tensor, run.anyRank());
}

// state_dict of the torch optimizer: number → state → value. `names` by number where masters gave them, else the number itself.
Status addNumberedStates(Run& run, TorchPieces& pieces, pickle::Value stateDict, const std::vector<Named>& named)
{
    const pickle::Value states = stateDict.find("state");
    for (std::size_t i = 0; i < states.size(); ++i) {
        const auto number = countOf(states.keyAt(i));
        if (!number)
            continue;
        const std::string name = *number < named.size() ? named[*number].name : std::to_string(*number);
        const pickle::Value ofParameter = states.valueAt(i);
        for (std::size_t s = 0; s < ofParameter.size(); ++s)
            SHARDLENS_TRY(addState(run, pieces, name, std::string(ofParameter.keyAt(s).asText().value_or("")), ofParameter.valueAt(s)));
    }
    return {};
}

// States of a flat group are as long as its vector: cut like the masters.
Status addFlatStates(Run& run, TorchPieces& pieces, pickle::Value stateDict, const std::vector<std::vector<Named>>& groups)
{
    const pickle::Value states = stateDict.find("state");
    for (std::size_t i = 0; i < states.size(); ++i) {
        const auto group = countOf(states.keyAt(i));
        if (!group || *group >= groups.size())
            continue;
        for (std::size_t s = 0; s < states.valueAt(i).size(); ++s) {
            const std::string state(states.valueAt(i).keyAt(s).asText().value_or(""));
            const pickle::Value value = states.valueAt(i).valueAt(s);
            SHARDLENS_ASSIGN(const auto scalar, scalarState(run, pieces, run.model, state, value, run.anyRank()));
            if (!scalar && !TorchFile::isTensor(value))
                continue;
            std::optional<TorchTensor> rest;
            if (!scalar)
                SHARDLENS_TRY([&]() -> Status {
                    SHARDLENS_ASSIGN(rest, run.model.torch->tensorOf(value));
                    return {};
                }());
            for (const Named& one : groups[*group]) {
                if (scalar) {
                    SHARDLENS_TRY(addScalarState(run, one.name, *scalar));
                    continue;
                }
                const RoleId role = run.builder.role(RoleKind::OptimizerState, state);
                const TensorId id = run.builder.addTensor({run.builder.parameter(one.name), role, rest->dtype, Combine::Replicas, false, one.shape});
                SHARDLENS_TRY(run.builder.addWhole(id, pieces.placementOf(*rest, run.anyRank())));
                rest->offsetBytes += elementCount(one.shape).value_or(0) * info(rest->dtype).bytesPerBlock;
            }
        }
    }
    return {};
}

} // namespace

Result<std::set<std::string, std::less<>>> addStage0Optimizer(Run& run, const ModuleNames& names)
{
    std::set<std::string, std::less<>> withMaster;
    const pickle::Value optimizer = run.model.root().find("optimizer");
    if (!optimizer.isMapping())
        return withMaster;
    TorchPieces pieces(run.builder, run.model.id, *run.model.torch);
    Matcher matcher(run, names);
    std::vector<Named> named;
    if (const pickle::Value flat = optimizer.find("fp32_groups_flat")) {
        SHARDLENS_ASSIGN(const auto groups, namedFlat(run, matcher, flat));
        SHARDLENS_TRY(addFlatStates(run, pieces, optimizer.find("optimizer_state_dict"), groups));
        for (const auto& group : groups)
            named.insert(named.end(), group.begin(), group.end());
    } else if (const pickle::Value shaped = optimizer.find("fp32_groups")) {
        SHARDLENS_ASSIGN(named, namedShaped(run, matcher, shaped));
        SHARDLENS_TRY(addNumberedStates(run, pieces, optimizer.find("optimizer_state_dict"), named));
    } else {
        const pickle::Value inner = optimizer.find("optimizer_state_dict");
        SHARDLENS_TRY(addNumberedStates(run, pieces, inner ? inner : optimizer, {}));
    }
    for (const Named& one : named) {
        SHARDLENS_TRY(addMaster(run, pieces, one));
        withMaster.insert(one.name);
    }
    return withMaster;
}

} // namespace shardlens::deepspeed
