#include "ui/models/atlas_model.h"

#include "core/base/text.h"
#include "ui/models/atlas_builder.h"
#include "ui/models/atlas_classes.h"

#include <algorithm>

namespace shardlens::ui {

bool isPartOfModel(RoleKind kind)
{
    return kind == RoleKind::Weight || kind == RoleKind::Buffer || kind == RoleKind::Module;
}

QString axisTitle(Axis axis)
{
    switch (axis) {
    case Axis::Dp: return Atlas::tr("data rank");
    case Axis::Tp: return Atlas::tr("tensor rank");
    case Axis::Pp: return Atlas::tr("pipeline stage");
    case Axis::Ep: return Atlas::tr("expert rank");
    case Axis::Sp: return Atlas::tr("sequence rank");
    case Axis::Replica: return Atlas::tr("replica");
    case Axis::Rank: return Atlas::tr("rank");
    }
    return {};
}

std::vector<AtlasGrouping> groupingsOf(const Checkpoint& checkpoint)
{
    std::vector<AtlasGrouping> out{{AtlasRows::RankFile}, {AtlasRows::File}};
    for (const Topology::Size& axis : checkpoint.topology().axes)
        if (axis.size > 1 && axis.axis != Axis::Rank)
            out.push_back({AtlasRows::Axis, axis.axis});
    const auto hasNumber = [](const std::string& name) {
        const auto parts = nameParts(name);
        return std::any_of(parts.begin(), parts.end(), [](std::string_view part) { return isNumber(part); });
    };
    if (std::any_of(checkpoint.parameters().begin(), checkpoint.parameters().end(), hasNumber))
        out.push_back({AtlasRows::Layer});
    return out;
}

namespace {

bool isSeparator(char c)
{
    return c == '_' || c == '-' || c == '.';
}

} // namespace

std::optional<std::size_t> AtlasLane::pieceAt(std::uint64_t at) const
{
    std::size_t index = static_cast<std::size_t>(std::upper_bound(starts.begin(), starts.end(), at) - starts.begin());
    std::optional<std::size_t> best;
    while (index-- > 0) {
        if (reach[index] <= at)
            break;
        if (endOf(index) > at && (!best || lengths[index] < lengths[*best]))
            best = index;
    }
    return best;
}

std::size_t AtlasLane::firstEndingAfter(std::uint64_t at) const
{
    return static_cast<std::size_t>(std::upper_bound(reach.begin(), reach.end(), at) - reach.begin());
}

std::shared_ptr<const AtlasModel> AtlasModel::build(const CheckpointPtr& checkpoint, const AtlasOptions& options, std::stop_token stop)
{
    return AtlasBuilder(checkpoint, options, std::move(stop)).build();
}

std::optional<std::uint32_t> AtlasModel::rankOf(PieceId piece) const
{
    return m_checkpoint->rankOfPiece(m_checkpoint->pieces().at(piece));
}

std::vector<AtlasPlace> AtlasModel::placesOf(ParameterId parameter) const
{
    std::vector<AtlasPlace> out;
    for (std::size_t i = 0; i < m_checkpoint->tensors().size(); ++i) {
        if (m_checkpoint->tensors()[i].parameter != parameter)
            continue;
        const auto tensor = idAt<TensorId>(i);
        for (std::size_t row = m_checkpoint->pieces().firstOf(tensor); row < m_checkpoint->pieces().lastOf(tensor); ++row)
            if (const AtlasPlace place = m_placeOfPiece[row]; place.lane != kNowhere)
                out.push_back(place);
    }
    std::sort(out.begin(), out.end());
    out.erase(std::unique(out.begin(), out.end()), out.end());
    return out;
}

std::optional<AtlasPlace> AtlasModel::placeOf(PieceId piece) const
{
    const AtlasPlace place = m_placeOfPiece[shardlens::indexOf(piece)];
    return place.lane == kNowhere ? std::nullopt : std::optional(place);
}

QString shortFileName(const std::string& name)
{
    std::string stem = name.substr(name.find_last_of('/') + 1);
    if (const auto dot = stem.find_last_of('.'); dot != std::string::npos && dot > 0)
        stem.resize(dot);
    std::size_t at = stem.find_last_of("0123456789");
    if (at != std::string::npos && at + 2 < stem.size() && isSeparator(stem[at + 1]))
        return QString::fromStdString(printable(std::string_view(stem).substr(at + 2)));
    return QString::fromStdString(printable(stem));
}

} // namespace shardlens::ui
