#include "ui/models/atlas_builder.h"

#include "ui/models/atlas_classes.h"
#include "ui/models/atlas_text.h"
#include "ui/models/rank_uses.h"

#include <algorithm>

// Whose lanes are whose, and what they are called.
namespace shardlens::ui {

void AtlasBuilder::countNames()
{
    for (const File& file : m_checkpoint.files())
        if (!file.rank)
            ++m_shortNames[shortFileName(file.name)];
}

// "rank 1, optim_states"; a file of no rank by its name: "layer_07-model_00, model_states" where the last words are those of others too.
void AtlasBuilder::nameFileLane(AtlasLane& lane, const File& file) const
{
    const QString words = shortFileName(file.name);
    if (m_model->m_options.rows != AtlasRows::File && file.rank) {
        lane.title = Atlas::tr("rank %1").arg(*file.rank);
        lane.note = words;
        return;
    }
    lane.title = words;
    if (file.rank) {
        lane.note = Atlas::tr("rank %1").arg(*file.rank);
        return;
    }
    const auto like = m_shortNames.find(words);
    const QString name = printableText(std::string_view(file.name).substr(file.name.find_last_of('/') + 1));
    const qsizetype at = name.lastIndexOf(words);
    if (like != m_shortNames.end() && like->second > 1 && at > 1) {
        lane.title = name.left(at - 1);
        lane.note = words;
    }
}

// "decoder.layers.7" of the model's order; an axis' ranks by number.
void AtlasBuilder::readGroups()
{
    if (m_model->m_options.rows == AtlasRows::Axis) {
        for (std::size_t i = 0; i < m_checkpoint.holders().size(); ++i) {
            const auto& coordinates = m_checkpoint.holders()[i].coordinates;
            const auto at =
                std::find_if(coordinates.begin(), coordinates.end(), [&](const auto& one) { return one.axis == m_model->m_options.axis; });
            m_groupOfHolder.push_back(at == coordinates.end() ? kEveryRank : at->index);
        }
        return;
    }
    // Files list layer 10 before layer 2: the layers of one stack share out the places that they have.
    const auto& modules = m_model->m_modules;
    std::map<QString, std::vector<std::uint32_t>> placesOfStack;
    for (std::uint32_t i = 0; i < modules.size(); ++i)
        placesOfStack[isNumber(modules[i].label.toStdString()) ? modules[i].path.chopped(modules[i].label.size()) : modules[i].path]
            .push_back(i);
    m_groupOfModule.resize(modules.size());
    m_moduleOfGroup.resize(modules.size());
    for (const auto& [stack, places] : placesOfStack) {
        std::vector<std::pair<qulonglong, std::uint32_t>> sorted; // by number
        for (const std::uint32_t module : places)
            sorted.emplace_back(modules[module].label.toULongLong(), module);
        std::sort(sorted.begin(), sorted.end());
        for (std::size_t i = 0; i < places.size(); ++i) {
            m_groupOfModule[sorted[i].second] = places[i];
            m_moduleOfGroup[places[i]] = sorted[i].second;
        }
    }
}

AtlasBuilder::Group AtlasBuilder::groupOf(const Piece& piece, TensorId tensor) const
{
    switch (m_model->m_options.rows) {
    case AtlasRows::Axis: return m_groupOfHolder[indexOf(piece.holder)];
    case AtlasRows::Layer: return m_groupOfModule[m_moduleOfParameter[indexOf(m_checkpoint.tensor(tensor).parameter)]];
    case AtlasRows::RankFile:
    case AtlasRows::File: return kNoGroup;
    }
    return kNoGroup;
}

AtlasBuilder::Group AtlasBuilder::groupOfFile(FileId file) const
{
    if (!isGrouped() || file == kNoFile)
        return kNoGroup;
    if (const auto only = m_onlyGroup[indexOf(file)])
        return *only;
    const auto rank = m_checkpoint.file(file).rank;
    if (m_model->m_options.rows != AtlasRows::Axis || !rank || *rank >= m_checkpoint.topology().worldSize())
        return kNoGroup;
    for (const Holder::Coordinate& one : holderOfRank(m_checkpoint.topology(), *rank).coordinates)
        if (one.axis == m_model->m_options.axis)
            return one.index;
    return kNoGroup;
}

QString AtlasBuilder::groupTitle(Group group) const
{
    if (m_model->m_options.rows == AtlasRows::Layer && group == kNoGroup)
        return Atlas::tr("no layer: headers, padding, files without tensors");
    if (m_model->m_options.rows == AtlasRows::Layer) {
        const AtlasModule& module = m_model->m_modules[m_moduleOfGroup[group]];
        const bool isNumberAlone = module.path == module.label && isNumber(module.label.toStdString());
        return isNumberAlone ? Atlas::tr("layer %1").arg(module.path) : module.path;
    }
    const QString axis = axisTitle(m_model->m_options.axis);
    if (group == kNoGroup)
        return Atlas::tr("no %1: what no rank is named for", "an axis").arg(axis);
    return group == kEveryRank ? Atlas::tr("any %1: the same on each, or not said", "an axis").arg(axis)
                               : Atlas::tr("%1 %2", "axis, number").arg(axis).arg(group);
}

} // namespace shardlens::ui
