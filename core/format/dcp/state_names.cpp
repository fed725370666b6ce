#include "core/format/dcp/state_names.h"

#include "core/layout/branches.h"

#include <algorithm>

namespace shardlens::dcp {
namespace {

constexpr std::string_view kState = "state";
constexpr std::string_view kFlatState = "state."; // get_state_dict(flatten_optimizer_state_dict=True)

// The first key of the path, where something lies below it.
std::string_view branchOf(const DcpEntry& entry)
{
    return entry.path.size() > 1 ? std::string_view(entry.path.front().key) : std::string_view{};
}

std::string joined(const std::vector<DcpStep>& path, std::size_t first, std::size_t last)
{
    std::string out;
    for (std::size_t i = first; i < last; ++i)
        out += (i == first ? "" : ".") + path[i].key;
    return out;
}

// Where the state of the optimizer begins in a path: behind the branch, and behind the number of a list of optimizers.
std::size_t stateAt(const DcpEntry& entry)
{
    return entry.path.size() > 1 && entry.path[1].index ? 2 : 1;
}

} // namespace

StateNames::StateNames(const DcpMetadata& metadata, const std::function<bool(const DcpEntry&)>& holdsTensor)
{
    std::vector<std::string> models;
    bool hasElsewhere = false;
    for (const DcpEntry& entry : metadata.entries) {
        const std::string_view branch = branchOf(entry);
        if (isModelBranch(branch) && !entry.path[1].index && std::find(models.begin(), models.end(), branch) == models.end())
            models.emplace_back(branch);
        if (isOptimizerBranch(branch))
            m_optimizer = branch;
        m_manyOptimizers = m_manyOptimizers || (isOptimizerBranch(branch) && entry.path[1].index.value_or(0) > 0);
    }
    const auto isElsewhere = [&](const DcpEntry& entry) {
        const std::string_view branch = branchOf(entry);
        return (models.empty() || branch != models.front()) && (m_optimizer.empty() || branch != m_optimizer);
    };
    const auto isTensor = [&](const DcpEntry& entry) { return entry.kind == DcpEntry::Kind::Tensor && isElsewhere(entry); };
    const auto hasTensor = [&](const DcpEntry& entry) { return entry.kind == DcpEntry::Kind::Bytes && isElsewhere(entry) && holdsTensor(entry); };
    hasElsewhere = std::any_of(metadata.entries.begin(), metadata.entries.end(), isTensor);
    if (models.size() == 1 && m_optimizer.empty() && !hasElsewhere)
        hasElsewhere = std::any_of(metadata.entries.begin(), metadata.entries.end(), hasTensor);
    if (models.size() == 1 && (!m_optimizer.empty() || !hasElsewhere))
        m_model = models.front();
}

bool StateNames::isOptimizerState(const DcpEntry& entry) const
{
    if (m_optimizer.empty() || branchOf(entry) != m_optimizer)
        return false;
    const std::size_t at = stateAt(entry);
    if (at >= entry.path.size())
        return false;
    const bool isNested = entry.path[at].key == kState && entry.path.size() >= at + 3;
    const bool isFlat = entry.path.size() == at + 1 && entry.path[at].key.starts_with(kFlatState) && entry.path[at].key.find('.', kFlatState.size()) != std::string::npos;
    return isNested || isFlat;
}

StateName StateNames::of(const DcpEntry& entry) const
{
    if (isOptimizerState(entry)) {
        const std::size_t at = stateAt(entry);
        const std::string prefix = m_manyOptimizers && at == 2 ? entry.path[1].key + "." : "";
        if (entry.path[at].key == kState)
            return {prefix + entry.path[at + 1].key, RoleKind::OptimizerState, joined(entry.path, at + 2, entry.path.size())};
        const std::string flat = entry.path[at].key.substr(kFlatState.size());
        const std::size_t dot = flat.find_last_of('.');
        return {prefix + flat.substr(0, dot), RoleKind::OptimizerState, flat.substr(dot + 1)};
    }
    const std::string_view branch = branchOf(entry);
    if (!m_model.empty() && branch == m_model)
        return {joined(entry.path, 1, entry.path.size()), RoleKind::Weight, {}};
    const bool isOther = !m_model.empty() || (!m_optimizer.empty() && branch == m_optimizer);
    return {entry.key, isOther ? RoleKind::Other : RoleKind::Weight, {}};
}

StateName StateNames::inside(const DcpEntry& entry, const std::string& inside) const
{
    StateName out = of(entry);
    if (out.role == RoleKind::OptimizerState)
        return {entry.key + "." + inside, RoleKind::Other, {}};
    out.parameter += "." + inside;
    return out;
}

} // namespace shardlens::dcp
