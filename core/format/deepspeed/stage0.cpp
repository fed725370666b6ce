#include "core/format/deepspeed/stage0.h"

#include "core/base/text.h"
#include "core/encoding/torch_pieces.h"
#include "core/format/deepspeed/experts.h"
#include "core/format/deepspeed/optimizer_states.h"
#include "core/numeric/cast.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>

namespace shardlens::deepspeed {
namespace {

constexpr std::uint64_t kSampleCells = 16 * 1024; // compared at the start, in the middle and at the end of a large parameter

// A file that keeps an optimizer: the model file, or with experts one of each expert-parallel rank.
struct OptimizerSource {
    const RankFile* file = nullptr;
    pickle::Value optimizer;
    std::optional<std::uint32_t> expertRank; // whose experts it has
    bool isFirst = true;                     // what is no expert's counts once
    HolderId holder{};
};

// A master that is still without a name: a view on the bytes of the file.
struct Master {
    TorchTensor tensor; // in the parameter's shape, or a stretch of a flat vector
    std::uint64_t count = 0;
};

struct Candidate0 {
    std::string name;
    const RankFile* file = nullptr;
    TorchTensor tensor;
    std::uint64_t count = 0;
    bool used = false;
};

class Matcher {
public:
    // Candidates of the module itself.
    Matcher(Run& run, const RankFile& masters, const ModuleNames& names) : m_run(run), m_masters(masters)
    {
        const pickle::Value module = run.module();
        for (std::size_t i = 0; i < module.size(); ++i) {
            const std::string name(module.keyAt(i).asText().value_or(""));
            if (!TorchFile::isTensor(module.valueAt(i)) || names.buffers.contains(name) || names.aliases.contains(name))
                continue;
            if (auto tensor = run.model.torch->tensorOf(module.valueAt(i)); tensor && tensor->contiguous && canCast(tensor->dtype, tensor->dtype))
                m_candidates.push_back({name, &run.model, tensor.take(), 0, false});
        }
        count();
    }
    // Candidates of an expert-parallel rank's experts.
    Matcher(Run& run, const RankFile& masters, const ModuleNames& names, std::uint32_t expertRank) : m_run(run), m_masters(masters)
    {
        for (ExpertTensor& one : tensorsOfExpertRank(run, expertRank))
            if (!names.buffers.contains(one.name) && one.tensor.contiguous && canCast(one.tensor.dtype, one.tensor.dtype))
                m_candidates.push_back({one.name, one.file, std::move(one.tensor), 0, false});
        count();
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
    void count()
    {
        for (Candidate0& one : m_candidates)
            one.count = elementCount(one.tensor.shape).value_or(0);
    }

    Result<bool> castsTo(const TorchTensor& master, const Candidate0& one) const
    {
        if (!canCast(master.dtype, one.tensor.dtype))
            return false;
        const std::uint64_t sample = std::min(one.count, kSampleCells);
        for (const std::uint64_t at : {std::uint64_t{0}, (one.count - sample) / 2, one.count - sample}) {
            SHARDLENS_ASSIGN(const auto wide, cells(m_masters, master, at, sample));
            SHARDLENS_ASSIGN(const auto narrow, cells(*one.file, one.tensor, at, sample));
            std::vector<std::byte> cast(narrow.size());
            castValues(master.dtype, wide.data(), one.tensor.dtype, cast.data(), sample);
            if (cast != narrow)
                return false;
        }
        return true;
    }

    [[nodiscard]] Result<std::vector<std::byte>> cells(const RankFile& from, const TorchTensor& tensor, std::uint64_t at, std::uint64_t count) const
    {
        const std::uint64_t cell = info(tensor.dtype).bytesPerBlock;
        const TorchStorage& storage = from.torch->storages()[tensor.storage];
        if (storage.deflated || storage.decoded)
            return Error{ErrorCode::Unsupported, "masters in a compressed archive cannot be matched to names"};
        SHARDLENS_ASSIGN(const auto file, FileSource::open(m_run.builder.file(from.id).path));
        return readBytes(*file, storage.offset + tensor.offsetBytes + at * cell, count * cell, 1u << 20);
    }

    Run& m_run;
    const RankFile& m_masters;
    std::vector<Candidate0> m_candidates;
};

// Which candidates a group's masters have: the module's, or the experts'. Nothing where another file counts.
class GroupMatcher {
public:
    GroupMatcher(Run& run, const OptimizerSource& source, const ModuleNames& names)
        : m_rows(stateDictOf(source).find("param_groups")), m_isFirst(source.isFirst), m_dense(run, *source.file, names)
    {
        if (source.expertRank)
            m_experts.emplace(run, *source.file, names, *source.expertRank);
    }

    [[nodiscard]] Matcher* of(std::size_t group)
    {
        if (m_experts && m_rows.at(group).find("moe").asBool().value_or(false))
            return &*m_experts;
        return m_isFirst ? &m_dense : nullptr;
    }

    [[nodiscard]] static pickle::Value stateDictOf(const OptimizerSource& source)
    {
        const pickle::Value inner = source.optimizer.find("optimizer_state_dict");
        return inner ? inner : source.optimizer;
    }

private:
    pickle::Value m_rows;
    bool m_isFirst;
    Matcher m_dense;
    std::optional<Matcher> m_experts;
};

// One parameter of the optimizer in its order: its name and where its master lies.
struct Named {
    std::string name; // empty: another file's counts
    Shape shape;
    TorchTensor master;
};

Error unmatched(std::size_t index, const Shape& shape)
{
    return {ErrorCode::Corrupt, fmt::format("master {} {} casts to no parameter of the module that is still without one, so it cannot be named", index, shapeText(shape))};
}

// fp32_groups: lists of masters in the parameters' shapes.
Result<std::vector<Named>> namedShaped(const OptimizerSource& source, GroupMatcher& matchers, pickle::Value groups)
{
    std::vector<Named> out;
    for (std::size_t g = 0; g < groups.size(); ++g) {
        Matcher* const matcher = matchers.of(g);
        for (std::size_t i = 0; i < groups.at(g).size(); ++i) {
            if (matcher == nullptr) {
                out.emplace_back();
                continue;
            }
            SHARDLENS_ASSIGN(const TorchTensor tensor, source.file->torch->tensorOf(groups.at(g).at(i)));
            SHARDLENS_ASSIGN(const Candidate0* found, matcher->match({tensor, elementCount(tensor.shape).value_or(0)}, false));
            if (found == nullptr)
                return unmatched(out.size(), tensor.shape);
            out.push_back({found->name, tensor.shape, tensor});
        }
    }
    return out;
}

// fp32_groups_flat: one vector a group, its parameters end to end. A group that another file counts for is empty.
Result<std::vector<std::vector<Named>>> namedFlat(const OptimizerSource& source, GroupMatcher& matchers, pickle::Value groups)
{
    std::vector<std::vector<Named>> out;
    for (std::size_t g = 0; g < groups.size(); ++g) {
        SHARDLENS_ASSIGN(TorchTensor rest, source.file->torch->tensorOf(groups.at(g)));
        out.emplace_back();
        Matcher* const matcher = matchers.of(g);
        std::uint64_t left = matcher == nullptr ? 0 : elementCount(rest.shape).value_or(0);
        while (left > 0) {
            SHARDLENS_ASSIGN(const Candidate0* found, matcher->match({rest, left}, true));
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

Status addMaster(Run& run, const OptimizerSource& source, TorchPieces& pieces, const Named& one)
{
    const RoleId role = run.builder.role(RoleKind::Weight, "fp32 master");
    const TensorId id = run.builder.addTensor({run.builder.parameter(one.name), role, one.master.dtype, Combine::Replicas, false, one.shape});
    return pieces.addWhole(id, one.master, source.holder);
}

// One state of one parameter: a tensor in its own shape, or a number.
Status addState(Run& run, const OptimizerSource& source, TorchPieces& pieces, const std::string& parameter, const std::string& state, pickle::Value value)
{
    SHARDLENS_ASSIGN(const auto scalar, scalarState(run, pieces, *source.file, state, value, source.holder));
    if (scalar)
        return addScalarState(run, parameter, *scalar);
    if (!TorchFile::isTensor(value))
        return {};
    SHARDLENS_ASSIGN(const TorchTensor tensor, source.file->torch->tensorOf(value));
    const RoleId role = run.builder.role(RoleKind::OptimizerState, state);
    const TensorId id = run.builder.addTensor({run.builder.parameter(parameter), role, tensor.dtype, Combine::Replicas, false, tensor.shape});
    return pieces.addWhole(id, tensor, source.holder);
}

// Numbers that the groups of experts have: they mean other parameters in the file of another expert-parallel rank.
std::set<std::uint64_t> expertNumbers(pickle::Value stateDict)
{
    std::set<std::uint64_t> out;
    const pickle::Value rows = stateDict.find("param_groups");
    for (std::size_t g = 0; g < rows.size(); ++g) {
        const pickle::Value members = rows.at(g).find("params");
        for (std::size_t i = 0; rows.at(g).find("moe").asBool().value_or(false) && i < members.size(); ++i)
            if (const auto number = countOf(members.at(i)))
                out.insert(*number);
    }
    return out;
}

// state_dict of the torch optimizer: number → state → value. `names` by number where masters gave them, else the number itself; of experts "ep1.9".
Status addNumberedStates(Run& run, const OptimizerSource& source, TorchPieces& pieces, const std::vector<Named>& named)
{
    const pickle::Value stateDict = GroupMatcher::stateDictOf(source);
    const std::set<std::uint64_t> ofExperts = source.expertRank ? expertNumbers(stateDict) : std::set<std::uint64_t>{};
    const pickle::Value states = stateDict.find("state");
    for (std::size_t i = 0; i < states.size(); ++i) {
        const auto number = countOf(states.keyAt(i));
        if (!number)
            continue;
        const bool isExpert = ofExperts.contains(*number);
        const bool isElsewhere = named.empty() && !isExpert && !source.isFirst;
        const std::string unnamed = isElsewhere ? "" : isExpert ? fmt::format("ep{}.{}", *source.expertRank, *number) : std::to_string(*number);
        const std::string name = *number < named.size() ? named[*number].name : unnamed;
        const pickle::Value ofParameter = states.valueAt(i);
        for (std::size_t s = 0; !name.empty() && s < ofParameter.size(); ++s)
            SHARDLENS_TRY(addState(run, source, pieces, name, std::string(ofParameter.keyAt(s).asText().value_or("")), ofParameter.valueAt(s)));
    }
    return {};
}

// One state of a flat group: cut like its masters, or the same number for each.
Status addFlatState(Run& run, const OptimizerSource& source, TorchPieces& pieces, const std::vector<Named>& group, const std::string& state, pickle::Value value)
{
    SHARDLENS_ASSIGN(const auto scalar, scalarState(run, pieces, *source.file, state, value, source.holder));
    if (!scalar && !TorchFile::isTensor(value))
        return {};
    std::optional<TorchTensor> rest;
    if (!scalar) {
        SHARDLENS_ASSIGN(rest, source.file->torch->tensorOf(value));
    }
    for (const Named& one : group) {
        if (scalar) {
            SHARDLENS_TRY(addScalarState(run, one.name, *scalar));
            continue;
        }
        const RoleId role = run.builder.role(RoleKind::OptimizerState, state);
        const TensorId id = run.builder.addTensor({run.builder.parameter(one.name), role, rest->dtype, Combine::Replicas, false, one.shape});
        SHARDLENS_TRY(run.builder.addWhole(id, pieces.placementOf(*rest, source.holder)));
        rest->offsetBytes += elementCount(one.shape).value_or(0) * info(rest->dtype).bytesPerBlock;
    }
    return {};
}

Status addFlatStates(Run& run, const OptimizerSource& source, TorchPieces& pieces, const std::vector<std::vector<Named>>& groups)
{
    const pickle::Value states = source.optimizer.find("optimizer_state_dict").find("state");
    for (std::size_t i = 0; i < states.size(); ++i) {
        const auto group = countOf(states.keyAt(i));
        if (!group || *group >= groups.size())
            continue;
        for (std::size_t s = 0; s < states.valueAt(i).size(); ++s)
            SHARDLENS_TRY(addFlatState(run, source, pieces, groups[*group], std::string(states.valueAt(i).keyAt(s).asText().value_or("")), states.valueAt(i).valueAt(s)));
    }
    return {};
}

// Masters and states of one file; names that have a master go into `withMaster`.
Status addSource(Run& run, const ModuleNames& names, const OptimizerSource& source, std::set<std::string, std::less<>>& withMaster)
{
    TorchPieces pieces(run.builder, source.file->id, *source.file->torch);
    GroupMatcher matchers(run, source, names);
    std::vector<Named> named;
    if (const pickle::Value flat = source.optimizer.find("fp32_groups_flat")) {
        SHARDLENS_ASSIGN(const auto groups, namedFlat(source, matchers, flat));
        SHARDLENS_TRY(addFlatStates(run, source, pieces, groups));
        for (const auto& group : groups)
            named.insert(named.end(), group.begin(), group.end());
    } else if (const pickle::Value shaped = source.optimizer.find("fp32_groups")) {
        SHARDLENS_ASSIGN(named, namedShaped(source, matchers, shaped));
        SHARDLENS_TRY(addNumberedStates(run, source, pieces, named));
    } else {
        SHARDLENS_TRY(addNumberedStates(run, source, pieces, {}));
    }
    for (const Named& one : named) {
        if (one.name.empty())
            continue;
        SHARDLENS_TRY(addMaster(run, source, pieces, one));
        withMaster.insert(one.name);
    }
    return {};
}

// The model file's optimizer, or those of the expert-parallel ranks; of these the first that is there counts for what is no expert's.
std::vector<OptimizerSource> optimizerSources(Run& run)
{
    std::vector<OptimizerSource> out;
    for (const auto& [rank, file] : run.moeOptimizers)
        if (file.torch && file.root().find("optimizer").isMapping())
            out.push_back({&file, file.root().find("optimizer"), rank, out.empty(), run.expertRank(rank, run.expertRanks ? run.expertRanks->size() : 1)});
    if (out.empty() && run.model.root().find("optimizer").isMapping())
        out.push_back({&run.model, run.model.root().find("optimizer"), std::nullopt, true, run.anyRank()});
    return out;
}

} // namespace

Result<std::set<std::string, std::less<>>> addStage0Optimizer(Run& run, const ModuleNames& names)
{
    std::set<std::string, std::less<>> withMaster;
    for (const OptimizerSource& source : optimizerSources(run))
        if (Status added = addSource(run, names, source, withMaster); !added)
            return added.takeError().within(printable(run.builder.file(source.file->id).name));
    return withMaster;
}

} // namespace shardlens::deepspeed
