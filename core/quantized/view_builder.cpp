#include "core/quantized/view_builder.h"

#include <set>

namespace shardlens {

ViewBuilder::ViewBuilder(CheckpointPtr base)
    : m_base(std::move(base)), m_builder(m_base->path(), m_base->folder()), m_import(m_builder, *m_base), m_newOf(m_base->tensors().size(), kNoTensor), m_nobody(m_builder.holder({}))
{
    m_builder.setFormat(m_base->formatId(), m_base->formatTitle());
    m_builder.setTitle(m_base->title(), m_base->subtitle());
    m_builder.setTopology(m_base->topology());
    m_builder.setModelFacts(m_base->modelFacts());
}

Status ViewBuilder::keep(TensorId tensor)
{
    Tensor copy = m_base->tensor(tensor);
    copy.parameter = m_builder.parameter(m_base->parameterOf(tensor));
    const Role& role = m_base->roleOf(tensor);
    copy.role = m_builder.role(role.kind, role.name);
    m_newOf[indexOf(tensor)] = m_builder.addTensor(std::move(copy));
    return m_import.addWhole(m_newOf[indexOf(tensor)], tensor);
}

Status ViewBuilder::add(TensorId like, std::string_view name, Tensor tensor, StreamId bytes)
{
    const Role& role = m_base->roleOf(like);
    tensor.parameter = m_builder.parameter(name);
    tensor.role = m_builder.role(role.kind, role.name);
    tensor.moduleCopy = m_base->tensor(like).moduleCopy;
    return m_builder.addWhole(m_builder.addTensor(std::move(tensor)), {bytes, 0, m_nobody, {}});
}

CheckpointPtr ViewBuilder::finish() &&
{
    for (const auto& [name, value] : m_base->facts())
        if (!m_leftFacts.contains(name))
            m_builder.addFact(name, value);
    std::set<ParameterId> kept; // codes may stand under the name of their weight: its other names are theirs already
    for (std::size_t i = 0; i < m_newOf.size(); ++i)
        if (m_newOf[i] != kNoTensor)
            kept.insert(m_base->tensor(idAt<TensorId>(i)).parameter);
    for (const Alias& alias : m_base->aliases())
        if (kept.contains(alias.parameter))
            m_builder.addAlias(alias.name, m_builder.parameter(m_base->parameters()[indexOf(alias.parameter)]));
    for (Finding finding : m_base->findings()) {
        if (finding.lost) {
            m_builder.addLost(m_base->lostTensors()[*finding.lost], finding.code, m_import.file(finding.file));
            continue;
        }
        if (m_leftCodes.contains(finding.code))
            continue;
        finding.file = m_import.file(finding.file);
        finding.tensor = finding.tensor == kNoTensor ? kNoTensor : m_newOf[indexOf(finding.tensor)];
        m_builder.addFinding(std::move(finding));
    }
    return std::move(m_builder).finish();
}

} // namespace shardlens
