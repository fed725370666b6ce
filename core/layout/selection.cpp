#include "core/layout/selection.h"

#include <algorithm>

namespace shardlens {
namespace {

bool isWanted(const Checkpoint& checkpoint, TensorId id, Select select)
{
    const RoleKind kind = checkpoint.roleOf(id).kind;
    switch (select) {
    case Select::Weights: return kind == RoleKind::Weight || kind == RoleKind::Buffer;
    case Select::Module: return kind == RoleKind::Module || checkpoint.tensor(id).moduleCopy;
    case Select::Optimizer: return kind == RoleKind::OptimizerState;
    case Select::All: return true;
    }
    return false;
}

// The name outside. A module copy keeps its bare name unless it stands beside its master.
std::string nameFor(const Checkpoint& checkpoint, TensorId id, Select select, const std::string& parameter)
{
    const Role& role = checkpoint.roleOf(id);
    if (role.kind == RoleKind::OptimizerState)
        return parameter + "/" + role.name;
    if (role.kind == RoleKind::Module && select == Select::All)
        return parameter + "/module";
    return parameter;
}

bool isWantedRole(RoleKind kind, Select select)
{
    switch (select) {
    case Select::Weights: return kind == RoleKind::Weight || kind == RoleKind::Buffer;
    case Select::Module: return kind == RoleKind::Weight || kind == RoleKind::Buffer || kind == RoleKind::Module; // which copy it would have been is not known
    case Select::Optimizer: return kind == RoleKind::OptimizerState;
    case Select::All: return true;
    }
    return false;
}

bool matchesAny(const std::vector<Regex>& patterns, const std::string& name)
{
    return std::any_of(patterns.begin(), patterns.end(), [&](const Regex& one) { return one.search(name); });
}

bool passes(const SelectionOptions& options, const std::string& name)
{
    return (options.include.empty() || matchesAny(options.include, name)) && !matchesAny(options.exclude, name);
}

// Parameters in model order; the tensors of one keep the order in which they were read.
std::vector<TensorId> inModelOrder(const Checkpoint& checkpoint)
{
    std::vector<TensorId> order;
    order.reserve(checkpoint.tensors().size());
    for (std::size_t i = 0; i < checkpoint.tensors().size(); ++i)
        order.push_back(idAt<TensorId>(i));
    std::stable_sort(order.begin(), order.end(), [&](TensorId a, TensorId b) { return checkpoint.tensor(a).parameter < checkpoint.tensor(b).parameter; });
    return order;
}

} // namespace

std::optional<Select> selectByName(std::string_view name)
{
    for (const Select one : {Select::Weights, Select::Module, Select::Optimizer, Select::All})
        if (name == nameOf(one))
            return one;
    return std::nullopt;
}

const char* nameOf(Select select)
{
    switch (select) {
    case Select::Weights: return "weights";
    case Select::Module: return "module";
    case Select::Optimizer: return "optimizer";
    case Select::All: return "all";
    }
    return "";
}

std::vector<SelectedTensor> selectTensors(const Checkpoint& checkpoint, const SelectionOptions& options)
{
    std::vector<std::vector<const Alias*>> aliases(checkpoint.parameters().size());
    for (const Alias& alias : checkpoint.aliases())
        aliases[indexOf(alias.parameter)].push_back(&alias);
    std::vector<SelectedTensor> out;
    std::size_t firstOfTensor = 0; // where the entries of the tensor at hand begin
    const auto add = [&](TensorId id, const std::string& parameter, bool isAlias) {
        std::string name = nameFor(checkpoint, id, options.select, parameter);
        if (passes(options, name) || (options.partsPass && checkpoint.tensor(id).quantizedPart))
            out.push_back({std::move(name), id, isAlias, out.size() > firstOfTensor});
    };
    for (const TensorId id : inModelOrder(checkpoint)) {
        if (!isWanted(checkpoint, id, options.select))
            continue;
        firstOfTensor = out.size();
        add(id, checkpoint.parameterOf(id), false);
        if (checkpoint.roleOf(id).kind == RoleKind::OptimizerState)
            continue; // states stand under the canonical name only
        for (const Alias* alias : aliases[indexOf(checkpoint.tensor(id).parameter)])
            add(id, alias->name, true);
    }
    return out;
}

std::vector<std::size_t> selectLost(const Checkpoint& checkpoint, const SelectionOptions& options)
{
    std::vector<std::size_t> out;
    for (std::size_t i = 0; i < checkpoint.lostTensors().size(); ++i)
        if (const LostTensor& lost = checkpoint.lostTensors()[i]; isWantedRole(lost.role, options.select) && passes(options, lost.name))
            out.push_back(i);
    return out;
}

} // namespace shardlens
